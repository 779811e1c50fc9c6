"""STOMP over WebSocket for Django Channels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .access.signing import sign

# Modules under the names that they had before, for one release.
__path__.append(f"{__path__[0]}/old_names")

__version__ = "0.1.0"
__all__ = ["__version__", "sign"]


def __getattr__(name: str) -> Any:
    """Return ``sign``, imported when it is asked for: Django's settings may not be there yet."""
    if name != "sign":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .access.signing import sign

    return sign
