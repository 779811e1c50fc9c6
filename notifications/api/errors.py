"""Errors: what the API answers when something is wrong, or away."""

from __future__ import annotations

import math

from rest_framework import status
from rest_framework.exceptions import APIException


class Away(APIException):
    """What the request needs is away, or busy; ``wait`` is for Retry-After, in seconds."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_code = "unavailable"

    def __init__(self, detail: str | None = None, wait: float | None = None) -> None:
        super().__init__(detail)
        self.wait = math.ceil(wait or 2)


class RedisAway(Away):
    default_detail = "Redis is away: try again."


class TooLarge(APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_code = "too_large"
