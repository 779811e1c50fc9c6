"""JwtSettings: what ``STOMP_JWT`` says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from .key_sets import KeySet, check_source
from .keys import ALGORITHMS, Key, Keys, OneKey, key_of_text

_DEFAULTS: Final[Mapping[str, Any]] = {
    "algorithms": ("RS256",),
    "key": None,
    "key_file": None,
    "jwks": None,
    "audience": None,
    "issuer": None,
    "leeway": 30,
    "max_age": None,
    "claim": "sub",
    "cache_seconds": 300,
}
_SOURCES: Final = ("key", "key_file", "jwks")


@dataclass(frozen=True, slots=True)
class JwtSettings:
    """
    Which tokens are good.

    Args:
        algorithms: By which of them a token may be signed; the key has to be for it, too.
        audience: For whom a token has to be, one of these; None where it may say nothing of that.
        issuer: From whom it has to be, one of these; None for anybody who has the key.
        leeway: How many seconds clocks may differ.
        max_age: How many seconds may lie between its ``iat`` and its ``exp``; None for any number.
        claim: Where the user's name is.
    """

    keys: Keys = field(repr=False)
    algorithms: tuple[str, ...]
    audience: tuple[str, ...] | None
    issuer: tuple[str, ...] | None
    leeway: float
    max_age: float | None
    claim: str


def read_settings(given: Any) -> JwtSettings:
    """
    Return what ``STOMP_JWT`` says, checked.

    Raises:
        ValueError: If it is nonsense; the text never contains a key.
    """
    _check_names(given)
    options = {**_DEFAULTS, **given}
    algorithms = _algorithms(options)
    max_age = options["max_age"]
    return JwtSettings(
        keys=_keys(options, algorithms),
        algorithms=algorithms,
        audience=_texts(options, "audience"),
        issuer=_texts(options, "issuer"),
        leeway=_seconds(options, "leeway"),
        max_age=None if max_age is None else _seconds(options, "max_age"),
        claim=_text(options, "claim"),
    )


def _check_names(given: Any) -> None:
    if not isinstance(given, Mapping):
        raise ValueError("it has to be a dict")
    if unknown := [str(name) for name in given if name not in _DEFAULTS]:
        raise ValueError(f"it knows no {', '.join(unknown)}, only {', '.join(_DEFAULTS)}")
    if find_spec("jwt") is None or find_spec("cryptography") is None:
        raise ValueError("it needs PyJWT and cryptography: the extra 'jwt'")


def _algorithms(options: Mapping[str, Any]) -> tuple[str, ...]:
    algorithms = _texts(options, "algorithms") or ()
    if unknown := [name for name in algorithms if name not in ALGORITHMS]:
        raise ValueError(
            f"there is no algorithm {', '.join(unknown)}, only {', '.join(ALGORITHMS)}"
        )
    return algorithms


def _keys(options: Mapping[str, Any], algorithms: tuple[str, ...]) -> Keys:
    given = [name for name in _SOURCES if options[name] is not None]
    if len(given) != 1:
        raise ValueError(
            f"it needs one of {', '.join(_SOURCES)}, and has {' and '.join(given) or 'none'}"
        )
    text = _text(options, given[0])
    if given == ["jwks"]:
        return KeySet(check_source(text), _seconds(options, "cache_seconds"))
    return OneKey(_key(text if given == ["key"] else _content(text), algorithms))


def _key(text: str, algorithms: tuple[str, ...]) -> Key:
    key = key_of_text(text)
    if key.algorithm not in algorithms:
        raise ValueError(f"the key is for {key.algorithm}, and algorithms has it not")
    return key


def _content(file: str) -> str:
    try:
        return Path(file).read_text().strip()
    except (OSError, ValueError):
        raise ValueError("key_file can't be read") from None


def _texts(options: Mapping[str, Any], name: str) -> tuple[str, ...] | None:
    """Return one text, or several; None stays None."""
    value = options[name]
    if value is None:
        return None
    texts = (value,) if isinstance(value, str) else value
    if not isinstance(texts, list | tuple) or not texts or not all(map(_is_text, texts)):
        raise ValueError(f"{name} has to be a text, or a list of texts")
    return tuple(texts)


def _text(options: Mapping[str, Any], name: str) -> str:
    value = str(options[name]) if isinstance(options[name], Path) else options[name]
    if not _is_text(value):
        raise ValueError(f"{name} has to be a text, and not empty")
    return str(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _seconds(options: Mapping[str, Any], name: str) -> float:
    value = options[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise ValueError(f"{name} has to be a number of seconds")
    return float(value)
