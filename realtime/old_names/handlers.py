"""The old name of :mod:`realtime.routes`' ``on_send`` and ``on_subscribe``."""

from realtime.routes import on_send, on_subscribe

__all__ = ["on_send", "on_subscribe"]
