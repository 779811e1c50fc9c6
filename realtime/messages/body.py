"""Body: what the bytes of a message say, as text, as JSON, and as data that a serializer takes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

#: The code of :class:`BadBody`, in the headers of the answer to a SEND.
BAD_BODY: Final = "bad-body"

#: A class of Django REST framework's serializers, or whatever is called as one: with ``data`` and
#: ``context``, for an object with ``is_valid()``, ``errors`` and ``validated_data``.
Serializer = Callable[..., Any]


class BadBody(ValueError):
    """
    A body that says nothing of use; the text is for people, ``errors`` for programs.

    Args:
        errors: What is wrong, as Django REST framework has it: by field, or as ``detail``.
    """

    def __init__(self, message: str, errors: Any = None) -> None:
        super().__init__(message)
        self.errors = {"detail": message} if errors is None else errors


def read_text(body: bytes) -> str:
    """
    Return a body as text.

    Raises:
        BadBody: If it is not UTF-8.
    """
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise BadBody(f"no text: byte {error.start} is not UTF-8") from None


def parse_json(body: bytes) -> Any:
    """
    Return what a body says as JSON.

    Raises:
        BadBody: If it is none.
    """
    try:
        return json.loads(body.decode(), parse_constant=_refuse)
    except RecursionError:
        raise BadBody("JSON that is nested too deeply") from None
    except ValueError as error:
        raise BadBody(f"no JSON: {error}") from None


def validated(body: bytes, serializer: Serializer, context: Mapping[str, Any]) -> Any:
    """
    Return what a serializer makes of a body of JSON; it may ask the database.

    Raises:
        BadBody: If the body is not valid, with the serializer's errors.
    """
    asked = serializer(data=parse_json(body), context=context)
    if not asked.is_valid():
        raise BadBody("the body is not valid", asked.errors)
    return asked.validated_data


def as_bad_body(error: Exception) -> BadBody | None:
    """
    Return what is wrong with a body, if that is why a handler failed: it may have raised what
    Django REST framework's serializers raise. That is asked only of a process which has it.
    """
    if isinstance(error, BadBody):
        return error
    framework = sys.modules.get("rest_framework.exceptions")
    if framework is not None and isinstance(error, framework.ValidationError):
        detail = error.detail
        return BadBody(
            "the body is not valid", detail if isinstance(detail, dict) else list(detail)
        )
    return None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
