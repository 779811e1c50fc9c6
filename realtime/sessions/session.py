"""Session: one live client, as handlers and operators see it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from realtime.delivery.outbox import Outbox


@dataclass(eq=False, slots=True)
class Session:
    """A client's connection, as handlers and operators see it; times are Unix seconds."""

    address: str = ""
    user_agent: str = ""
    #: The Django user, or None for an anonymous client.
    user: Any = None
    #: The user's name, or the empty string for an anonymous client.
    user_name: str = field(default="", init=False)
    version: str = ""
    id: str = field(default_factory=lambda: str(uuid4()))
    connected_at: float = field(default_factory=time.time)
    heard_at: float = field(default_factory=time.time)
    subscriptions: int = 0
    messages_in: int = 0
    #: How many of its handlers that are not async may run at once: others want threads too.
    handler_slots: asyncio.Semaphore = field(
        default_factory=lambda: asyncio.Semaphore(2), repr=False
    )

    #: Its way out, which counts what was sent.
    outbox: Outbox | None = field(default=None, repr=False)

    @property
    def messages_out(self) -> int:
        """How many MESSAGE frames it was sent."""
        return self.outbox.messages if self.outbox is not None else 0

    def __post_init__(self) -> None:
        self.log_in(self.user)

    def log_in(self, user: Any) -> None:
        """Let it be that of a user, or of nobody."""
        self.user = user
        self.user_name = user.get_username() if user is not None else ""
