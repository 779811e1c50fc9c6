"""The gateway's own routing table, and what the tests need besides."""

from __future__ import annotations

import asyncio
import threading
import time
from functools import partial
from typing import Any

from rest_framework import serializers

from gateway.routing import routes as own_routes
from notifications.bridges import from_channel, to_channel
from realtime.messages.message import Message
from realtime.routes import allow, anyone, on_send, on_subscribe, topic
from realtime.routes.topics import History, on_slow_client
from realtime.sessions.session import Session


async def echo(message: Message, session: Session, name: str) -> bytes:
    return name.encode() + b":" + message.body


def whoami(message: Message, session: Session) -> Any:
    return {"user": session.user_name, "thread": threading.current_thread().name}


async def fail(message: Message, session: Session) -> None:
    raise RuntimeError("this handler always fails")


async def slow(message: Message, session: Session) -> str:
    await asyncio.sleep(float(message.body))
    return "slept"


def slow_sync(message: Message, session: Session) -> str:
    time.sleep(float(message.body))
    return "slept"


async def settings_of(session: Session, part: str) -> Any:
    return {"part": part}


def fail_to_answer(session: Session) -> None:
    raise RuntimeError("this handler always fails")


async def late(session: Session, seconds: str) -> str:
    await asyncio.sleep(float(seconds))
    return f"after {seconds}"


async def nothing(session: Session) -> None:
    return None


def shout(message: Message, session: Session) -> str:
    return message.text.upper()


async def add_up(message: Message, session: Session) -> int:
    return sum(message.json())


class OrderSerializer(serializers.Serializer[Any]):
    product = serializers.ChoiceField(["ham", "eggs"])
    count = serializers.IntegerField(min_value=1)
    by = serializers.DateField(required=False)

    def validate_product(self, product: str) -> str:
        if product == self.context.get("variables", {}).get("banned"):
            raise serializers.ValidationError(f"no {product} here")
        return product


async def place_order(message: Message, session: Session, data: Any) -> Any:
    return {"placed": data}


def place_order_without(message: Message, session: Session, data: Any, banned: str) -> Any:
    return {"placed": data, "without": banned, "thread": threading.current_thread().name}


def validate_late(message: Message, session: Session) -> None:
    OrderSerializer(data=message.json()).is_valid(raise_exception=True)


routes = [
    allow("/**", subscribe=anyone, send=anyone, publish=anyone),
    topic("/topic/rooms/**", presence=True),
    *own_routes,
    on_send("/app/echo/{name}", echo),
    on_send("/app/echo-to-topic/{name}", echo, reply_to="/topic/echo"),
    on_send("/app/echo-to-me/{name}", echo, reply_to="/user/queue/echo"),
    on_send("/app/whoami", whoami),
    on_send("/app/shout", shout),
    on_send("/app/sum", add_up),
    on_send("/app/orders", place_order, body=OrderSerializer),
    on_send("/app/orders/without/{banned}", place_order_without, body=OrderSerializer),
    on_send("/app/orders/many", place_order, body=partial(OrderSerializer, many=True)),
    on_send("/app/orders/late", validate_late),
    on_send("/app/fail", fail),
    on_send("/app/slow", slow),
    on_send("/app/slow-sync", slow_sync),
    on_subscribe("/app/settings/{part}", settings_of),
    on_subscribe("/app/fail", fail_to_answer),
    on_subscribe("/app/nothing", nothing),
    History("/topic/forgotten/**", size=0),
    History("/topic/strict/**", on_gap="close"),
    History("/user/*/queue/kept"),
    on_subscribe("/app/late/{seconds}", late),
    on_slow_client("/topic/prices/**", "latest"),
    on_slow_client("/topic/log/*", "drop-oldest"),
    to_channel("/app/ask/{what}", "QUESTIONS", format="envelope"),
    from_channel("ANSWERS"),
]
