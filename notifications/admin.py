"""The face that Django looks for: see :mod:`notifications.dead_letters.admin`."""

from .dead_letters.admin import DeadLetterAdmin

__all__ = ["DeadLetterAdmin"]
