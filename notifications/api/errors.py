"""Errors: what the API answers when something is wrong, or away."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

from redis import RedisError
from rest_framework import status
from rest_framework.exceptions import APIException

from realtime.access.limits import refusals

T = TypeVar("T")


class Away(APIException):
    """What the request needs is away, or busy; ``wait`` is for Retry-After, in seconds."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_code = "unavailable"

    def __init__(self, detail: str | None = None, wait: float | None = None) -> None:
        super().__init__(detail)
        self.wait = math.ceil(wait or 2)


class RedisAway(Away):
    default_detail = "Redis is away: try again."


class TooMany(APIException):
    """The client has, or asks for, more than it may; ``wait`` is for Retry-After, in seconds."""

    status_code = status.HTTP_429_TOO_MANY_REQUESTS
    default_code = "too_many"

    def __init__(self, detail: str, wait: float | None) -> None:
        super().__init__(detail)
        self.wait = wait


class TooLarge(APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_code = "too_large"


def asked(ask: Callable[[], T]) -> T:
    """
    Return what nodes say.

    Raises:
        RedisAway: If they can't be asked.
    """
    try:
        return ask()
    except RedisError as error:
        refusals.note("redis-away", None, f"Redis did not tell what nodes know: {error}")
        raise RedisAway from None
