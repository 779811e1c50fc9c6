"""
STOMP over WebSocket for Django Channels.

What Django code calls is here::

    from realtime import apublish, notify, publish, publish_on_commit, realtime_model, sign

and what a routing table is made of in :mod:`realtime.routes`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .access.signing import sign
    from .broker import apublish, publish
    from .django.changes import realtime_model
    from .django.commit import publish_on_commit
    from .django.users import notify

# Modules under the names that they had before, for one release.
__path__.append(f"{__path__[0]}/old_names")

__version__ = "1.0.0rc1"
__all__ = [
    "__version__",
    "apublish",
    "notify",
    "publish",
    "publish_on_commit",
    "realtime_model",
    "sign",
]

#: Where each is.
_MODULES: Final = {
    "apublish": "broker",
    "notify": "django.users",
    "publish": "broker",
    "publish_on_commit": "django.commit",
    "realtime_model": "django.changes",
    "sign": "access.signing",
}


def __getattr__(name: str) -> Any:
    """Return a name, imported when it is asked for: Django's settings may not be there yet."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
