"""Session: one live client, as handlers and operators see it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from realtime.access.addresses import neighbourhood
from realtime.access.credentials import Login
from realtime.delivery.outbox import Outbox
from realtime.hub.subscription import Subscription


@dataclass(eq=False, slots=True)
class Session:
    """A client's connection, as handlers and operators see it; times are Unix seconds."""

    address: str = ""
    user_agent: str = ""
    #: What it logged in with, or None for an anonymous client.
    login: Login | None = field(default=None, repr=False)
    #: The Django user, or None.
    user: Any = field(default=None, init=False)
    #: The user's name, or the empty string for an anonymous client.
    user_name: str = field(default="", init=False)
    version: str = ""
    id: str = field(default_factory=lambda: str(uuid4()))
    connected_at: float = field(default_factory=time.time)
    heard_at: float = field(default_factory=time.time)
    #: What it hears, by what the client calls it.
    heard: Mapping[str, Subscription] = field(default_factory=dict, repr=False)
    messages_in: int = 0
    #: Whether operators have to be shown something else than they are.
    changed: bool = field(default=True, repr=False)
    _handler_slots: asyncio.Semaphore | None = field(default=None, init=False, repr=False)

    #: Its way out, which counts what was sent.
    outbox: Outbox | None = field(default=None, repr=False)

    @property
    def handler_slots(self) -> asyncio.Semaphore:
        """How many of its handlers that are not async may run at once: others want threads too."""
        if self._handler_slots is None:
            self._handler_slots = asyncio.Semaphore(2)
        return self._handler_slots

    @property
    def subscriptions(self) -> int:
        """How many subscriptions it has."""
        return len(self.heard)

    @property
    def destinations(self) -> list[str]:
        """What it hears, as the hub calls it."""
        return [each.destination for each in tuple(self.heard.values())]  # threads ask, too

    @property
    def messages_out(self) -> int:
        """How many MESSAGE frames it was sent."""
        return self.outbox.messages if self.outbox is not None else 0

    @property
    def log_fields(self) -> dict[str, str]:
        """Whose a line of the log is."""
        return {"session": self.id, "user": self.user_name, "address": self.address}

    @property
    def account(self) -> str:
        """Who pays for what it uses: its user, or all anonymous clients of its address."""
        return self.user_name or neighbourhood(self.address)

    def __post_init__(self) -> None:
        self.log_in(self.login)

    def log_in(self, login: Login | None) -> None:
        """Let it be that of a login, or of nobody."""
        self.login = login
        self.update_user(login.user if login is not None else None)

    def update_user(self, user: Any) -> None:
        """Take the user as the database has it now."""
        self.changed = True
        self.user = user
        if self.login is not None:
            self.login.renew(user)
        self.user_name = user.get_username() if user is not None else ""
