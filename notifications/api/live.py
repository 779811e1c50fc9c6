"""
Live: what nodes know of sessions, topics, users and themselves, and what is done with sessions.

It is asked of all nodes at each request; who did not answer in time is named in ``missing``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

from django.http import Http404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from realtime.access import audit
from realtime.destinations.names import DestinationError, check_destination, check_topic
from realtime.nodes.answers import MAX_ROWS, ORDERS
from realtime.nodes.found import (
    Found,
    act,
    find_presence,
    find_session,
    find_sessions,
    find_topics,
)
from realtime.nodes.overview import overview

from .access import IsAuthenticated, address_of, check_rule, may
from .errors import Away, asked
from .schema import ANSWERED, ERRORS, READING, wrong

#: Permissions on sessions, for whoever sees them and acts on them.
SEE: Final = "realtime.view_sessionrecord"
DISCONNECT: Final = "realtime.disconnect_session"
UNSUBSCRIBE: Final = "realtime.unsubscribe_session"
MESSAGE: Final = "realtime.message_session"
SEE_NODES: Final = "realtime.view_noderecord"

#: What a client is told whose session is ended without a reason.
NO_REASON: Final = "an operator ended this"

_TIMES: Final = ("connected_at", "heard_at", "since", "started_at", "at")


# What may be asked, and is answered


class _Query(serializers.Serializer[Any]):
    """Parameters of a request; one that nobody knows is an error, not ignored."""

    limit = serializers.IntegerField(min_value=1, max_value=MAX_ROWS, default=100)

    def to_internal_value(self, data: Any) -> Any:
        unknown = set(data) - set(self.fields) - {"format", "ticket"}
        if unknown:
            raise serializers.ValidationError(
                {name: ["There is no such parameter."] for name in sorted(unknown)}
            )
        return super().to_internal_value(data)


class SessionsQuery(_Query):
    text = serializers.CharField(
        required=False, help_text="Part of an id, user, address, user agent or destination."
    )
    user = serializers.CharField(
        required=False, allow_blank=True, help_text="Of this user; empty for anonymous clients."
    )
    topic = serializers.CharField(required=False, help_text="That hear this destination.")
    address = serializers.CharField(required=False)
    version = serializers.CharField(required=False, help_text="1.0, 1.1, 1.2 or SSE.")
    slow = serializers.BooleanField(
        required=False, allow_null=True, default=None, help_text="That read too slowly, or do not."
    )
    order = serializers.ChoiceField(list(ORDERS), default="newest", help_text="The most first.")


class TopicsQuery(_Query):
    text = serializers.CharField(required=False, help_text="Part of their names.")
    order = serializers.ChoiceField(
        ["subscribers", "per_second"], default="subscribers", help_text="The most first."
    )


class TopicQuery(serializers.Serializer[Any]):
    topic = serializers.CharField()

    def validate_topic(self, topic: str) -> str:
        return _checked(check_topic, topic)


class ReasonQuery(serializers.Serializer[Any]):
    reason = serializers.CharField(
        max_length=200, default=NO_REASON, help_text="What the client is told."
    )


class DisconnectQuery(ReasonQuery):
    reconnect = serializers.BooleanField(
        default=False, help_text="Whether the client may come again at once."
    )


class UnsubscribeQuery(ReasonQuery):
    topic = serializers.CharField(help_text="A destination that it hears.")

    def validate_topic(self, topic: str) -> str:
        return _checked(check_destination, topic)


class TellSerializer(serializers.Serializer[Any]):
    """A text for one session, on a destination that it hears."""

    topic = serializers.CharField()
    message = serializers.CharField(trim_whitespace=False, max_length=10_000)

    def validate_topic(self, topic: str) -> str:
        return _checked(check_destination, topic)


class SessionSerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    node = serializers.CharField()
    user = serializers.CharField(help_text="Empty for anonymous clients.")
    address = serializers.CharField()
    user_agent = serializers.CharField()
    version = serializers.CharField(help_text="1.0, 1.1, 1.2 or SSE; empty before CONNECT.")
    connected_at = serializers.DateTimeField()
    heard_at = serializers.DateTimeField()
    subscriptions = serializers.IntegerField()
    topics = serializers.ListField(child=serializers.CharField(), help_text="The first of them.")
    messages_in = serializers.IntegerField()
    messages_out = serializers.IntegerField()
    waiting_bytes = serializers.IntegerField()
    slow = serializers.BooleanField()


class HeardSerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    topic = serializers.CharField()
    position = serializers.CharField(allow_null=True, help_text="Of its node.")
    kind = serializers.CharField()
    waiting = serializers.IntegerField()
    unacknowledged = serializers.IntegerField()


class SessionDetailSerializer(SessionSerializer):
    login = serializers.CharField(allow_null=True, help_text="What showed whose it is.")
    heard = HeardSerializer(many=True)


class _Rows(serializers.Serializer[Any]):
    count = serializers.IntegerField(help_text="How many there are.")
    missing = serializers.ListField(
        child=serializers.CharField(), help_text="Nodes that did not answer in time."
    )


class SessionsSerializer(_Rows):
    sessions = SessionSerializer(many=True)


class TopicSerializer(serializers.Serializer[Any]):
    topic = serializers.CharField()
    subscribers = serializers.IntegerField()
    nodes = serializers.IntegerField()
    messages = serializers.IntegerField(help_text="Since it is heard.")
    per_second = serializers.FloatField()
    position = serializers.CharField(allow_null=True)


class TopicsSerializer(_Rows):
    topics = TopicSerializer(many=True)


class PresentSerializer(serializers.Serializer[Any]):
    user = serializers.CharField()
    sessions = serializers.IntegerField()
    since = serializers.DateTimeField(allow_null=True)


class PresenceSerializer(_Rows):
    topic = serializers.CharField()
    anonymous = serializers.IntegerField()
    users = PresentSerializer(many=True)


class UserSerializer(_Rows):
    user = serializers.CharField()
    online = serializers.BooleanField()
    since = serializers.DateTimeField(allow_null=True)
    sessions = SessionSerializer(many=True)


_SESSION: Final = {
    "id": "5f1c0e0c-2b0e-4c53-9b6e-0c5f2f8d3a11",
    "node": "gateway1-4711-3fa2c9",
    "user": "alice",
    "address": "192.0.2.7",
    "user_agent": "Mozilla/5.0",
    "version": "1.2",
    "connected_at": "2026-11-27T12:00:00Z",
    "heard_at": "2026-11-27T12:00:10Z",
    "subscriptions": 1,
    "topics": ["/topic/toast"],
    "messages_in": 0,
    "messages_out": 3,
    "waiting_bytes": 0,
    "slow": False,
}
_HEARD: Final = {
    "id": "0",
    "topic": "/topic/toast",
    "position": "5a0c36ef1-7",
    "kind": "Direct",
    "waiting": 0,
    "unacknowledged": 0,
}
_TOPIC: Final = {
    "topic": "/topic/toast",
    "subscribers": 2,
    "nodes": 1,
    "messages": 7,
    "per_second": 0.2,
    "position": "5a0c36ef1-7",
}
_PRESENT: Final = {"user": "alice", "sessions": 1, "since": "2026-11-27T12:00:00Z"}


def _answer(kind: Any, **example: Any) -> OpenApiResponse:
    return OpenApiResponse(kind, "As it is now.", [OpenApiExample("as it is now", example)])


# Views


class SessionsView(APIView):
    """List the live sessions of all nodes, as the nodes know them now."""

    permission_classes = (may(SEE),)

    @extend_schema(
        operation_id="sessions",
        summary="List sessions",
        tags=["live"],
        parameters=[SessionsQuery, *ANSWERED],
        responses={
            200: _answer(SessionsSerializer, count=1, missing=[], sessions=[_SESSION]),
            400: wrong(limit=["A valid integer is required."]),
            **READING,
        },
    )
    def get(self, request: Request) -> Response:
        found = asked(lambda: find_sessions(**_valid(SessionsQuery, request.query_params)))
        return _listed("sessions", found)


class SessionView(APIView):
    """Look at one session, with its subscriptions; DELETE ends it, wherever it is."""

    permission_classes = (may(SEE, DELETE=DISCONNECT),)

    @extend_schema(
        operation_id="session",
        summary="Look at a session",
        tags=["live"],
        parameters=ANSWERED,
        responses={
            200: _answer(SessionDetailSerializer, **_SESSION, login="cookie", heard=[_HEARD]),
            **READING,
        },
    )
    def get(self, request: Request, id: str) -> Response:
        session = asked(lambda: find_session(id))
        if session is None:
            raise Http404
        return Response(_with_times(session))

    @extend_schema(
        operation_id="disconnect",
        summary="End a session",
        description="The client gets an ERROR with the reason, and a close code that says whether"
        " it may come again: 4006, or 4500.",
        tags=["live"],
        parameters=[DisconnectQuery, *ANSWERED],
        responses={204: None, 400: wrong(reason=["This field may not be blank."]), **READING},
    )
    def delete(self, request: Request, id: str) -> Response:
        return _done(request, "disconnect", id, _valid(DisconnectQuery, request.query_params))


class SubscriptionsView(APIView):
    """End what one session hears of a destination; the session goes on."""

    permission_classes = (may(UNSUBSCRIBE),)

    @extend_schema(
        operation_id="unsubscribe",
        summary="End a subscription",
        tags=["live"],
        parameters=[UnsubscribeQuery, *ANSWERED],
        responses={204: None, 400: wrong(topic=["This field is required."]), **READING},
    )
    def delete(self, request: Request, id: str) -> Response:
        return _done(request, "unsubscribe", id, _valid(UnsubscribeQuery, request.query_params))


class MessagesView(APIView):
    """Send a text to one session alone, on a destination that it hears."""

    permission_classes = (may(MESSAGE),)
    serializer_class: ClassVar = TellSerializer

    def get_serializer(self, *args: Any, **kwargs: Any) -> TellSerializer:
        """Return the serializer, for the forms of the browsable API."""
        return TellSerializer(*args, **kwargs)

    @extend_schema(
        operation_id="tell",
        summary="Send a message to one session",
        tags=["live"],
        parameters=ANSWERED,
        request=TellSerializer,
        responses={
            204: None,
            400: wrong(topic=["This field is required."]),
            413: ERRORS[413],
            415: ERRORS[415],
            **READING,
        },
        examples=[
            OpenApiExample(
                "a text", {"topic": "/topic/toast", "message": "please reload"}, request_only=True
            )
        ],
    )
    def post(self, request: Request, id: str) -> Response:
        content = _valid(TellSerializer, request.data)
        headers = {"sender": request.user.get_username()}
        told = {"topic": content["topic"], "text": content["message"], "headers": headers}
        return _done(request, "message", id, told)


class TopicsView(APIView):
    """List the topics that are heard on any node, with their subscribers."""

    permission_classes = (may(SEE),)

    @extend_schema(
        operation_id="topics",
        summary="List topics",
        tags=["live"],
        parameters=[TopicsQuery, *ANSWERED],
        responses={
            200: _answer(TopicsSerializer, count=1, missing=[], topics=[_TOPIC]),
            400: wrong(limit=["A valid integer is required."]),
            **READING,
        },
    )
    def get(self, request: Request) -> Response:
        found = asked(lambda: find_topics(**_valid(TopicsQuery, request.query_params)))
        return _listed("topics", found)


class PresenceView(APIView):
    """
    Tell which users are on a topic, over all nodes: for those who may hear the topic, and for
    those who may see all sessions.
    """

    permission_classes = (IsAuthenticated,)

    @extend_schema(
        operation_id="presence",
        summary="Who is on a topic",
        tags=["live"],
        parameters=[TopicQuery, *ANSWERED],
        responses={
            200: _answer(
                PresenceSerializer,
                topic="/topic/toast",
                count=2,
                anonymous=1,
                users=[_PRESENT],
                missing=[],
            ),
            400: wrong(topic=["This field is required."]),
            **READING,
        },
    )
    def get(self, request: Request) -> Response:
        topic = _valid(TopicQuery, request.query_params)["topic"]
        if not request.user.has_perm(SEE):
            check_rule(request, "subscribe", topic)
        return Response(_with_times(asked(lambda: find_presence(topic))))


class UserView(APIView):
    """Tell whether a user is online, on how many devices, and since when."""

    permission_classes = (may(SEE),)

    @extend_schema(
        operation_id="user",
        summary="Is a user online?",
        tags=["live"],
        parameters=ANSWERED,
        responses={
            200: _answer(
                UserSerializer,
                user="alice",
                online=True,
                since="2026-11-27T12:00:00Z",
                count=1,
                missing=[],
                sessions=[_SESSION],
            ),
            **READING,
        },
    )
    def get(self, request: Request, name: str) -> Response:
        found = asked(lambda: find_sessions(user=name, limit=MAX_ROWS))
        since = min((row["connected_at"] for row in found.rows), default=None)
        about = {"user": name, "online": found.count > 0, "since": since}
        return _listed("sessions", found, about)


class NodesView(APIView):
    """Tell what all nodes report of themselves, their sums, and what is wrong now, in words."""

    permission_classes = (may(SEE_NODES),)

    @extend_schema(
        operation_id="nodes",
        summary="How the nodes are",
        tags=["live"],
        parameters=ANSWERED,
        responses={200: _answer(OpenApiTypes.OBJECT, nodes=[], problems=[]), **READING},
    )
    def get(self, request: Request) -> Response:
        content = asked(overview)
        return Response(_with_times({**content, "nodes": list(map(_with_times, content["nodes"]))}))


# How they ask


def _done(request: Request, what: str, id: str, arguments: Mapping[str, Any]) -> Response:
    """Let the node of a session do something with it, and write down who wanted that."""
    found = asked(lambda: act(what, [id], **arguments))
    if not found.rows:
        if found.missing:
            raise Away(f"{', '.join(found.missing)} did not answer: try again.")
        raise Http404
    about = {name: str(arguments[name]) for name in ("topic", "reason") if name in arguments}
    by = request.user.get_username()
    audit.record(what, user=by, address=address_of(request), session=id, **about)
    return Response(status=status.HTTP_204_NO_CONTENT)


def _valid(kind: type[serializers.Serializer[Any]], data: Any) -> dict[str, Any]:
    serializer = kind(data=data)
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)


def _checked(check: Callable[[str], str], destination: str) -> str:
    try:
        return check(destination)
    except DestinationError as error:
        raise serializers.ValidationError(error.message) from None


def _listed(name: str, found: Found, about: Mapping[str, Any] | None = None) -> Response:
    rows: Iterable[Mapping[str, Any]] = map(_with_times, found.rows)
    content = {**(about or {}), "count": found.count, "missing": found.missing, name: list(rows)}
    return Response(_with_times(content))


def _with_times(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row, or what has rows of users, with times as JSON has them."""
    told = dict(content)
    for name in _TIMES:
        if isinstance(told.get(name), int | float):
            told[name] = datetime.fromtimestamp(told[name], UTC)
    if "users" in told:
        told["users"] = list(map(_with_times, told["users"]))
    return told
