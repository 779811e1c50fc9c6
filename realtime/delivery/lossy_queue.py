"""
What becomes of messages for a client that reads slower than they come.

By default its session is closed, with a code that says "reconnect". The routing table may say
otherwise for some topics::

    routes = [
        on_slow_client("/topic/prices/**", "latest"),
        on_slow_client("/topic/log", "drop-oldest"),
    ]

``latest`` keeps only the newest message of each destination, ``drop-oldest`` as many as fit in
the session's send budget. The next MESSAGE of the subscription says in its header ``dropped`` how
many are missing before it.
"""

from __future__ import annotations

from collections.abc import Mapping

from .frames import Burst, Payload
from .outbox import Outbox


class LossyQueue:
    """
    Deliver to a subscription of policy ``latest`` or ``drop-oldest``.

    While the client can be written to, messages pass through. Otherwise they wait here, and the
    outbox takes them when it may.
    """

    def __init__(self, outbox: Outbox, *, latest: bool) -> None:
        self._outbox = outbox
        self._latest = latest
        self._waiting: dict[str, Payload] = {}
        self._dropped = 0
        self._told: Mapping[str, str] = {}

    def tell(self, headers: Mapping[str, str]) -> None:
        """Say this in headers of the next MESSAGE that is sent, whichever that is."""
        self._told = headers

    def deliver(self, payload: Payload | Burst) -> None:
        """Send each MESSAGE now, or keep it, or drop an older one for it."""
        if not self._passes(payload.size):
            wanted = payload.payloads
            if self._latest:  # those of a burst have one destination
                wanted = wanted[-1:]
                self._dropped += payload.count - 1
            for each in wanted:
                self._deliver(each)
        else:
            self._outbox.deliver(self._annotated(payload))

    def _passes(self, size: int) -> bool:
        outbox = self._outbox
        return not outbox.blocked and not self._waiting and outbox.has_room(size, 0.5)

    def _deliver(self, payload: Payload) -> None:
        outbox = self._outbox
        if self._passes(payload.size):
            outbox.deliver(self._annotated(payload))
            return
        key = payload.destination if self._latest else payload.message_id
        if key in self._waiting:
            self._drop(key)
        while self._waiting and not outbox.has_room(payload.size):
            self._drop(next(iter(self._waiting)))
        if not outbox.has_room(payload.size):
            self._dropped += 1
            return
        outbox.hold(payload)
        self._waiting[key] = payload
        outbox.add_source(self)

    def take(self) -> Payload | Burst | None:
        """Return the next MESSAGE to write, or None if there is none."""
        if not self._waiting:
            return None
        payload = self._waiting.pop(next(iter(self._waiting)))
        self._outbox.release(payload)
        self._outbox.messages += 1
        return self._annotated(payload)

    def discard(self) -> None:
        """Forget what waits: the subscription ended."""
        for payload in self._waiting.values():
            self._outbox.release(payload)
        self._waiting.clear()
        self._outbox.remove_source(self)

    def _annotated(self, payload: Payload | Burst) -> Payload | Burst:
        """Return a MESSAGE with what its client has to be told; a loss outdates what was before."""
        if not (self._told or self._dropped):
            return payload
        told, dropped, self._told, self._dropped = self._told, self._dropped, {}, 0
        headers = {} if told and b"\nrecovered:" in payload.payloads[0].data else dict(told)
        return payload.with_headers(headers | ({"dropped": str(dropped)} if dropped else {}))

    def _drop(self, key: str) -> None:
        self._outbox.release(self._waiting.pop(key))
        self._dropped += 1
