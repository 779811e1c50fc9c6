"""Rows: what is answered of live state; with an example of each, for the document."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from rest_framework import serializers

_TIMES: Final = ("connected_at", "heard_at", "since", "started_at", "at")


def with_times(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row, or what has rows of users, with times as JSON has them."""
    told = dict(content)
    for name in _TIMES:
        if isinstance(told.get(name), int | float):
            told[name] = datetime.fromtimestamp(told[name], UTC)
    if "users" in told:
        told["users"] = list(map(with_times, told["users"]))
    return told


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
    in_per_second = serializers.FloatField(help_text="Since somebody looked before.")
    out_per_second = serializers.FloatField(help_text="Since somebody looked before.")
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
    nodes = serializers.DictField(
        child=serializers.IntegerField(), help_text="How many sessions each node has of them."
    )


class UserSerializer(_Rows):
    user = serializers.CharField()
    online = serializers.BooleanField()
    since = serializers.DateTimeField(allow_null=True)
    sessions = SessionSerializer(many=True)


class EndedSerializer(serializers.Serializer[Any]):
    user = serializers.CharField()
    ended = serializers.IntegerField(help_text="How many sessions were ended.")
    missing = serializers.ListField(
        child=serializers.CharField(), help_text="Nodes that did not answer."
    )


SESSION: Final = {
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
    "in_per_second": 0.0,
    "out_per_second": 0.2,
    "waiting_bytes": 0,
    "slow": False,
}
HEARD: Final = {
    "id": "0",
    "topic": "/topic/toast",
    "position": "5a0c36ef1-7",
    "kind": "Direct",
    "waiting": 0,
    "unacknowledged": 0,
}
TOPIC: Final = {
    "topic": "/topic/toast",
    "subscribers": 2,
    "nodes": 1,
    "messages": 7,
    "per_second": 0.2,
    "position": "5a0c36ef1-7",
}
PRESENT: Final = {"user": "alice", "sessions": 1, "since": "2026-11-27T12:00:00Z"}
