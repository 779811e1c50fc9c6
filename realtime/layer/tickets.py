"""
Tickets: what a browser that is logged in elsewhere comes in with, once and at once.

A view gives one to its page, which can't send headers with a WebSocket; the gateway takes it, on
whatever process the page arrives. Redis has its hash only, so whoever reads there has no ticket.
"""

from __future__ import annotations

import re
import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from channels.layers import get_channel_layer
from django.contrib.auth import get_user_model

from realtime.access.authentication import needs
from realtime.access.credentials import Credentials, Login
from realtime.destinations.names import check_destination
from realtime.redis.connect import execute_all
from realtime.stomp import AccessDenied

from .layer import TopicLayer

_BYTES: Final = 32
_TICKET: Final = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Ticket:
    """
    What a ticket says.

    Args:
        user_pk: The primary key of the user, as text.
        destinations: What it is for; none where it says nothing of that.
        until: When the login ends with which it was made, in Unix seconds.
    """

    user_pk: str
    destinations: tuple[str, ...] = ()
    until: float = float("inf")


def make(
    user_pk: str,
    destinations: Sequence[str] = (),
    seconds: int = 30,
    *,
    until: float = float("inf"),
) -> str:
    """
    Return a new ticket, which can be taken once within so many seconds; whoever comes in with it
    stays until ``until`` at most, in Unix seconds.

    Raises:
        ValueError: If a destination is not legal, or ``seconds`` is not positive.
        redis.RedisError: If Redis is away.
    """
    if seconds < 1:
        raise ValueError(f"a ticket holds for a positive number of seconds, not for {seconds}")
    text = secrets.token_urlsafe(_BYTES)
    ticket = Ticket(str(user_pk), tuple(map(check_destination, destinations)), until)
    _drawer().put(_hash(text), ticket, seconds)
    return text


def take(ticket: str) -> Ticket | None:
    """
    Return what a ticket says, and let nobody take it again; None if there is none, or not any
    more. From synchronous code.

    Raises:
        redis.RedisError: If Redis is away.
    """
    return _drawer().take(_hash(ticket)) if _TICKET.fullmatch(ticket) else None


@needs("ticket")
def ticket_user(credentials: Credentials) -> Login | None:
    """Find the user of a ticket: an authenticator, see :mod:`realtime.access`."""
    if credentials.ticket is None:
        return None
    ticket = take(credentials.ticket)
    user = None
    if ticket is not None:
        user = get_user_model()._default_manager.filter(pk=ticket.user_pk).first()
    if ticket is None or user is None:
        raise AccessDenied("the ticket is not good, or not any more", code="authentication-failed")
    return Login(user, "ticket", until=ticket.until, destinations=ticket.destinations)


def _hash(ticket: str) -> str:
    return sha256(ticket.encode()).hexdigest()


def _drawer() -> _RedisDrawer | _LocalDrawer:
    layer = get_channel_layer()
    return _RedisDrawer(layer) if isinstance(layer, TopicLayer) else _local


class _RedisDrawer:
    """
    Tickets in Redis, by their hashes.

    Each of them is taken by one command, so of many who try it one gets it. What is written waits
    for replicas as messages do: what was taken is not there again after a failover.
    """

    def __init__(self, layer: TopicLayer) -> None:
        self._layer = layer

    def put(self, name: str, ticket: Ticket, seconds: int) -> None:
        content = {
            "user": ticket.user_pk,
            "destinations": ticket.destinations,
            "until": ticket.until,
        }
        self._execute("SET", name, self._layer.serialize(content), "EX", seconds)

    def take(self, name: str) -> Ticket | None:
        return self._opened(self._execute("GETDEL", name))

    def _execute(self, command: str, name: str, *arguments: Any) -> Any:
        layer, key = self._layer, self._key(name)
        client = layer.client(layer.shard_of(key))
        (answer,) = execute_all(client, [(command, key, *arguments)], replicas=layer.replicas)
        return answer

    def _key(self, name: str) -> str:
        return f"{self._layer.prefix}:ticket:{name}"

    def _opened(self, answer: bytes | None) -> Ticket | None:
        if answer is None:
            return None
        content = self._layer.deserialize(answer)
        return Ticket(content["user"], tuple(content["destinations"]), content["until"])


class _LocalDrawer:
    """Tickets of this process, where the channel layer is not in Redis: for development."""

    def __init__(self) -> None:
        self._tickets: dict[str, tuple[Ticket, float]] = {}
        self._lock = threading.Lock()

    def put(self, name: str, ticket: Ticket, seconds: int) -> None:
        now = time.monotonic()
        with self._lock:
            kept = {key: value for key, value in self._tickets.items() if value[1] > now}
            self._tickets = {**kept, name: (ticket, now + seconds)}

    def take(self, name: str) -> Ticket | None:
        with self._lock:
            ticket, end = self._tickets.pop(name, (None, 0.0))
        return ticket if end > time.monotonic() else None


_local: Final = _LocalDrawer()
