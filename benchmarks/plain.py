"""
The plain Channels project, as the tutorials have it, in one file::

    PLAIN_LAYER=core REDIS_URL=redis://... daphne benchmarks.plain:application

One channel for each connection, ``group_add`` and ``group_send``; enough of STOMP for the load
generator. Beside it a DRF view that sends to a group, and an answer that touches nothing but
daphne, which is daphne's own ceiling.
"""

from __future__ import annotations

import os
from typing import Any, Final

import django
from django.conf import settings

LAYERS: Final = {
    "core": "channels_redis.core.RedisChannelLayer",
    "pubsub": "channels_redis.pubsub.RedisPubSubChannelLayer",
}
# redis-py's own timeout of 5 s would end every idle consumer of the core layer.
HOST: Final = {"address": os.environ["REDIS_URL"], "socket_timeout": 30}

settings.configure(
    DEBUG=True,
    SECRET_KEY="only-for-the-benchmarks",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=[
        *(f"django.contrib.{name}" for name in ("auth", "contenttypes", "sessions", "messages")),
        "channels",
        "rest_framework",
    ],
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    CHANNEL_LAYERS={
        "default": {
            "BACKEND": LAYERS[os.environ["PLAIN_LAYER"]],
            "CONFIG": {"hosts": [HOST], "prefix": f"plain-{os.environ['PLAIN_LAYER']}"},
        }
    },
)
django.setup()

from asgiref.sync import async_to_sync  # noqa: E402 (Django has to be set up first)
from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402
from channels.layers import get_channel_layer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402
from django.urls import path  # noqa: E402
from rest_framework import serializers, views  # noqa: E402
from rest_framework.request import Request  # noqa: E402
from rest_framework.response import Response  # noqa: E402


def group_of(destination: str) -> str:
    return destination.strip("/").replace("/", ".")


class PlainConsumer(AsyncWebsocketConsumer):
    async def connect(self) -> None:
        self.groups_joined: list[str] = []
        await self.accept("v12.stomp")

    async def receive(self, text_data: str = "", bytes_data: bytes | None = None) -> None:
        head, _, body = text_data.rstrip("\0").partition("\n\n")
        command, *lines = head.split("\n")
        headers = dict(line.split(":", 1) for line in lines)
        if command == "CONNECT":
            await self.send("CONNECTED\nversion:1.2\n\n\0")
        elif command == "SUBSCRIBE":
            await self._subscribe(group_of(headers["destination"]))
        elif command == "SEND":
            event = {"type": "topic.message", "destination": headers["destination"], "body": body}
            await self.channel_layer.group_send(group_of(headers["destination"]), event)
        if "receipt" in headers:
            await self.send(f"RECEIPT\nreceipt-id:{headers['receipt']}\n\n\0")

    async def _subscribe(self, group: str) -> None:
        await self.channel_layer.group_add(group, self.channel_name)
        self.groups_joined.append(group)

    async def topic_message(self, event: dict[str, Any]) -> None:
        await self.send(
            f"MESSAGE\nsubscription:s\nmessage-id:0\ndestination:{event['destination']}\n"
            f"content-type:text/plain\n\n{event['body']}\0"
        )

    async def disconnect(self, code: int) -> None:
        for group in self.groups_joined:
            await self.channel_layer.group_discard(group, self.channel_name)


class NotificationSerializer(serializers.Serializer[dict[str, Any]]):
    topic = serializers.CharField()
    message = serializers.CharField()


class NotificationView(views.APIView):
    def post(self, request: Request) -> Response:
        serializer = NotificationSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        topic, message = serializer.validated_data["topic"], serializer.validated_data["message"]
        event = {"type": "topic.message", "destination": topic, "body": message}
        async_to_sync(get_channel_layer().group_send)(group_of(topic), event)
        return Response(serializer.data, status=202)


urlpatterns = [path("api/notification", NotificationView.as_view())]
django_application = get_asgi_application()


async def http(scope: Any, receive: Any, send: Any) -> None:
    """Answer ``/bare`` at once; everything else is Django's."""
    if scope["path"] != "/bare":
        await django_application(scope, receive, send)
        return
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-length", b"2"), (b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})


websocket = AuthMiddlewareStack(URLRouter([path("stomp", PlainConsumer.as_asgi())]))
application = ProtocolTypeRouter(
    {"http": http, "websocket": AllowedHostsOriginValidator(websocket)}
)
