"""Parsers: JSON, of which one large body is read at a time."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock
from typing import IO, Any, Final

from rest_framework.parsers import JSONParser

#: Python reads a body of JSON without a break, for 100 ms where it is 4 MB of small lists: several
#: threads at it, one after the other, held up the event loop for more than a second.
LARGE_BYTES: Final = 256 * 1024

_one_at_a_time: Final = Lock()


class GatewayJSONParser(JSONParser):
    """DRF's, which leaves the event loop a turn between two large bodies."""

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        if _length(parser_context) < LARGE_BYTES:
            return super().parse(stream, media_type, parser_context)
        with _one_at_a_time:
            return super().parse(stream, media_type, parser_context)


def _length(parser_context: Mapping[str, Any] | None) -> int:
    """Return how long the body is: the server has read it, and a form of DRF's own is small."""
    request = (parser_context or {}).get("request")
    return int(request.META.get("CONTENT_LENGTH") or 0) if request is not None else 0
