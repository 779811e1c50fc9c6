"""Queries: what may be asked of live state, and what may be done with sessions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from rest_framework import serializers

from notifications.api.serializers import Parameters
from realtime.destinations.names import DestinationError, check_destination, check_topic
from realtime.nodes.answers import MAX_ROWS, ORDERS

#: What a client is told whose session is ended without a reason.
NO_REASON: Final = "an operator ended this"


def valid(kind: type[serializers.Serializer[Any]], data: Any) -> dict[str, Any]:
    """
    Return what was asked, as one of these serializers reads it.

    Raises:
        ValidationError: If something is wrong with it.
    """
    serializer = kind(data=data)
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)


class _Listed(Parameters):
    limit = serializers.IntegerField(min_value=1, max_value=MAX_ROWS, default=100)


def _order(names: list[str]) -> serializers.ChoiceField:
    """Return a parameter by which a list is in order: the first of these, or another."""
    wrong: dict[str, Any] = {"invalid_choice": f'"{{input}}" is none of {", ".join(names)}.'}
    return serializers.ChoiceField(
        names, default=names[0], help_text="The most first.", error_messages=wrong
    )


class SessionsQuery(_Listed):
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
    order = _order(list(ORDERS))


class TopicsQuery(_Listed):
    text = serializers.CharField(required=False, help_text="Part of their names.")
    order = _order(["subscribers", "per_second"])


class TopicQuery(Parameters):
    topic = serializers.CharField()

    def validate_topic(self, topic: str) -> str:
        return _checked(check_topic, topic)


class ReasonQuery(Parameters):
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


def _checked(check: Callable[[str], str], destination: str) -> str:
    try:
        return check(destination)
    except DestinationError as error:
        raise serializers.ValidationError(error.message) from None
