"""
RefusedRequests: requests that Django refuses, as one line a minute for each address and reason.

Django logs a request for a foreign host, and a form with too many fields, as an error with its
traceback, and each request that is answered with 400 to 499 as a line: whoever likes can fill
the log; and so does an outage, by requests that are answered with 503. That of the database is said
once, by :class:`.Outage`. What is our own fault passes as it is.
"""

from __future__ import annotations

import logging
from http.client import SERVICE_UNAVAILABLE, responses
from typing import Any, Final

from realtime.access.limits import outage, refusals

#: Characters of what a line repeats of a request.
MAX_CHARACTERS: Final = 200

_NOTED: Final = object()


class RefusedRequests(logging.Filter):
    """A filter of a handler: it notes refused requests among all that is refused."""

    def filter(self, record: logging.LogRecord) -> bool:
        status = getattr(record, "status_code", 0)
        if not record.name.startswith("django.") or not _is_refusal(status):
            return True
        if not hasattr(record, "noted") and not _is_said(status):
            self._note(record, status)
        return False

    def _note(self, record: Any, status: int) -> None:
        record.noted = _NOTED  # there may be other handlers with this filter
        request: Any = getattr(record, "request", None)
        address = request.META.get("REMOTE_ADDR") if request is not None else None
        client = (address,) if address else None
        refusals.note(_reason(record, status), client, record.getMessage()[:MAX_CHARACTERS])


def _is_refusal(status: int) -> bool:
    return 400 <= status < 500 or status == SERVICE_UNAVAILABLE


def _is_said(status: int) -> bool:
    """Return whether it is an outage that the log knows of."""
    return status == SERVICE_UNAVAILABLE and bool(outage.reason)


def _reason(record: logging.LogRecord, status: int) -> str:
    if record.name == "django.security.DisallowedHost":
        return "foreign-host"
    return responses.get(status, f"status {status}").lower().replace(" ", "-")
