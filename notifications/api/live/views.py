"""Views: the operations on live state. Each act on a session has a permission of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, ClassVar, Final

from django.http import Http404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from notifications.api.access import IsAuthenticated, address_of, check_rule, has_permission, may
from notifications.api.errors import Away, asked
from notifications.api.schema.answers import ANSWERED, ERRORS, READING, wrong
from realtime.models import SessionRecord
from realtime.nodes.acts import Operator, act
from realtime.nodes.answers import MAX_ROWS
from realtime.nodes.found import Found, find_presence, find_session, find_sessions, find_topics
from realtime.nodes.overview import overview

from .queries import (
    DisconnectQuery,
    SessionsQuery,
    TellSerializer,
    TopicQuery,
    TopicsQuery,
    UnsubscribeQuery,
    valid,
)
from .rows import (
    HEARD,
    PRESENT,
    SESSION,
    TOPIC,
    PresenceSerializer,
    SessionDetailSerializer,
    SessionsSerializer,
    TopicsSerializer,
    UserSerializer,
    with_times,
)

#: Permissions on sessions, for whoever sees them and acts on them.
SEE: Final = "realtime.view_sessionrecord"
DISCONNECT: Final = "realtime.disconnect_session"
UNSUBSCRIBE: Final = "realtime.unsubscribe_session"
MESSAGE: Final = "realtime.message_session"
SEE_NODES: Final = "realtime.view_noderecord"


def _answer(kind: Any, **example: Any) -> OpenApiResponse:
    return OpenApiResponse(kind, "As it is now.", [OpenApiExample("as it is now", example)])


class SessionsView(APIView):
    """List the live sessions of all nodes, as the nodes know them now."""

    permission_classes = (may(SEE),)

    @extend_schema(
        operation_id="sessions",
        summary="List sessions",
        tags=["live"],
        parameters=[SessionsQuery, *ANSWERED],
        responses={
            200: _answer(SessionsSerializer, count=1, missing=[], sessions=[SESSION]),
            400: wrong(limit=["A valid integer is required."]),
            **READING,
        },
    )
    def get(self, request: Request) -> Response:
        found = asked(lambda: find_sessions(**valid(SessionsQuery, request.query_params)))
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
            200: _answer(SessionDetailSerializer, **SESSION, login="cookie", heard=[HEARD]),
            **READING,
        },
    )
    def get(self, request: Request, id: str) -> Response:
        session = asked(lambda: find_session(id))
        if session is None:
            raise Http404
        return Response(with_times(session))

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
        return _act(request, "disconnect", id, valid(DisconnectQuery, request.query_params))


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
        return _act(request, "unsubscribe", id, valid(UnsubscribeQuery, request.query_params))


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
        content = valid(TellSerializer, request.data)
        headers = {"sender": request.user.get_username()}
        told = {"topic": content["topic"], "text": content["message"], "headers": headers}
        return _act(request, "message", id, told)


class TopicsView(APIView):
    """List the topics that are heard on any node, with their subscribers."""

    permission_classes = (may(SEE),)

    @extend_schema(
        operation_id="topics",
        summary="List topics",
        tags=["live"],
        parameters=[TopicsQuery, *ANSWERED],
        responses={
            200: _answer(TopicsSerializer, count=1, missing=[], topics=[TOPIC]),
            400: wrong(limit=["A valid integer is required."]),
            **READING,
        },
    )
    def get(self, request: Request) -> Response:
        found = asked(lambda: find_topics(**valid(TopicsQuery, request.query_params)))
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
                users=[PRESENT],
                nodes={"gateway1-4711-3fa2c9": 2},
                missing=[],
            ),
            400: wrong(topic=["This field is required."]),
            **READING,
        },
    )
    def get(self, request: Request) -> Response:
        topic = valid(TopicQuery, request.query_params)["topic"]
        if not has_permission(request, SEE):
            check_rule(request, "subscribe", topic)
        return Response(with_times(asdict(asked(lambda: find_presence(topic)))))


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
                sessions=[SESSION],
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
        return Response(with_times({**content, "nodes": list(map(with_times, content["nodes"]))}))


def _act(request: Request, what: str, id: str, arguments: Mapping[str, Any]) -> Response:
    """Let the node of a session do something with it."""
    if "\0" in id:  # which PostgreSQL does not take
        raise Http404
    record = SessionRecord.objects.filter(id=id).first() or SessionRecord(id=id)
    operator = Operator(request.user, address_of(request))
    outcome = asked(lambda: act(what, [record], operator, **arguments))
    if outcome.unknown:
        raise Away(f"{', '.join(outcome.missing)} did not answer: try again.")
    if not outcome.done:
        raise Http404
    return Response(status=status.HTTP_204_NO_CONTENT)


def _listed(name: str, found: Found, about: Mapping[str, Any] | None = None) -> Response:
    rows = list(map(with_times, found.rows))
    content = {**(about or {}), "count": found.count, "missing": found.missing, name: rows}
    return Response(with_times(content))
