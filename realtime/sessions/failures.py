"""Failures: any error, as the STOMP error that a client is told."""

from __future__ import annotations

import logging

from redis import RedisError

from realtime.access.limits import is_outage, outage, refusals
from realtime.destinations.names import DestinationError, LoginRequired
from realtime.messages.message import MessageTooLarge
from realtime.stomp import (
    AccessDenied,
    FrameTooLarge,
    ProtocolError,
    StompError,
    TooMany,
    Unavailable,
)

from .session import Session

logger = logging.getLogger(__name__)


def is_refusal(error: BaseException) -> bool:
    """Return whether a client may not do what it asked for, and could go on all the same."""
    return isinstance(error, AccessDenied | LoginRequired | TooMany)


def note_too_slow(session: Session) -> None:
    """Log that a client is closed because it reads too slowly; call before anything is dropped."""
    assert session.outbox is not None
    logger.warning(
        "closed a client that reads too slowly",
        extra={
            **session.log_fields,
            "bytes": session.outbox.unsent_bytes,
            "subscriptions": session.subscriptions,
        },
    )


def as_stomp_error(error: BaseException) -> StompError:
    """Return what a client is told of an error; what is our own fault is logged and not told."""
    if isinstance(error, StompError):
        return error
    if isinstance(error, LoginRequired):
        return AccessDenied(error.message, code=error.code)
    if isinstance(error, DestinationError):
        return ProtocolError(error.message, code=error.code)
    if isinstance(error, MessageTooLarge):
        return FrameTooLarge(str(error), code=error.code)
    if isinstance(error, RedisError):
        refusals.note("redis-away", None, f"Redis did not do what was asked for: {error}")
        return Unavailable("Redis is away: try again", code="unavailable", retry_after=2)
    if is_outage(error):
        outage.refuse(error)
        return Unavailable("the database is away: try again", code="unavailable", retry_after=2)
    logger.error("a client's request failed", exc_info=error)
    return StompError("internal error", code="internal-error")
