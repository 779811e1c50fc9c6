"""Failures: any error, as the STOMP error that a client is told."""

from __future__ import annotations

import logging

from django.db import Error as DatabaseError
from redis import RedisError

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

logger = logging.getLogger(__name__)


def is_refusal(error: BaseException) -> bool:
    """Return whether a client may not do what it asked for, and could go on all the same."""
    return isinstance(error, AccessDenied | LoginRequired | TooMany)


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
        logger.warning("Redis did not do what a client asked for: %s", error)
        return Unavailable("Redis is away: try again", code="unavailable", retry_after=2)
    if isinstance(error, DatabaseError):
        logger.warning("the database did not do what a client asked for: %s", type(error).__name__)
        return Unavailable("the database is away: try again", code="unavailable", retry_after=2)
    logger.error("a client's request failed", exc_info=error)
    return StompError("internal error", code="internal-error")
