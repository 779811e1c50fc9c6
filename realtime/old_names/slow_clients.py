"""The old name of :mod:`realtime.routes`' ``on_slow_client``."""

from realtime.routes import on_slow_client

__all__ = ["on_slow_client"]
