from __future__ import annotations

from typing import Any

from rest_framework import serializers

from realtime.destinations import DestinationError, check_published


class MessageField(serializers.Field[Any, Any, Any, Any]):
    """Any JSON value as it is; in an HTML form the text as it was typed."""

    initial = ""

    def get_value(self, dictionary: Any) -> Any:
        return dictionary.get(self.field_name, serializers.empty)

    def to_internal_value(self, data: Any) -> Any:
        return data

    def to_representation(self, value: Any) -> Any:
        return value


class NotificationSerializer(serializers.Serializer[dict[str, Any]]):
    """What ``POST /api/notification`` takes."""

    topic = serializers.CharField(
        initial="/topic/toast", trim_whitespace=False, help_text="A topic, as in /topic/toast."
    )
    message = MessageField(
        allow_null=True,
        help_text="A string is sent as it is, any other JSON value as JSON.",
        style={"base_template": "textarea.html", "rows": 4},
    )

    def validate_topic(self, topic: str) -> str:
        try:
            return check_published(topic)
        except DestinationError as error:
            raise serializers.ValidationError(error.message, code=error.code) from None


class PublishedSerializer(serializers.Serializer[dict[str, Any]]):
    """What it answers: the message's id, as subscribers see it in ``message-id``."""

    id = serializers.CharField()
    topic = serializers.CharField()
