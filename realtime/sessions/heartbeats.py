"""Heartbeats: what the clock demands of one session; CONNECT in time, heart-beats out and in."""

from __future__ import annotations

from typing import Final

from realtime.delivery.frames import Frames, in_websocket_frame
from realtime.delivery.outbox import Outbox
from realtime.stomp import HEARTBEAT, Connection, HeartbeatMissed, ProtocolError, State

#: Seconds between two looks at a session's clock; the node calls.
TICK_SECONDS: Final = 0.5

#: Silence of so many heart-beat intervals ends a session.
MISSED_HEARTBEATS: Final = 3

#: In text messages, and in binary ones.
_HEARTBEATS: Final = [Frames((in_websocket_frame(HEARTBEAT, binary),)) for binary in (False, True)]
_NEVER: Final = float("inf")


class Heartbeats:
    """
    Keep one session's clock; all times are seconds of the event loop's clock.

    Args:
        connection: Says in which state the session is, and what was negotiated.
        outbox: Where heart-beats go.
        connect_by: When CONNECT has to be there.
    """

    __slots__ = ("_connection", "_outbox", "connect_by", "heard")

    def __init__(self, connection: Connection, outbox: Outbox, *, connect_by: float) -> None:
        self._connection = connection
        self._outbox = outbox
        #: When CONNECT has to be there; without end once it is.
        self.connect_by = connect_by
        #: When the client was last heard.
        self.heard = 0.0

    def tick(self, now: float) -> float:
        """
        Do what is due at ``now``; return when to look again.

        Raises:
            StompError: If the client is overdue.
        """
        if self._connection.state is State.CONNECTING:
            if now >= self.connect_by:
                raise ProtocolError("CONNECT did not come in time", code="connect-timeout")
            return self.connect_by
        if self._connection.state is State.CONNECTED:
            return min(self._check_heard(now), self._send(now), self._outbox.check_progress(now))
        return self._outbox.check_progress(now)

    def _check_heard(self, now: float) -> float:
        silence = self._connection.heartbeat_in_ms / 1000 * MISSED_HEARTBEATS
        if not silence:
            return _NEVER
        if now - self.heard > silence:
            raise HeartbeatMissed(f"no heart-beat for {silence:g} s", code="heart-beat-missed")
        # While a session is at work ``heard`` is infinite, and has to be looked at again.
        return min(self.heard, now) + silence

    def _send(self, now: float) -> float:
        interval = self._connection.heartbeat_out_ms / 1000
        if not interval:
            return _NEVER
        ahead = interval - TICK_SECONDS  # the next look would be too late
        if now >= self._outbox.last_sent + ahead:
            self._outbox.write(_HEARTBEATS[bool(self._outbox.binary)])
            return now + ahead
        return self._outbox.last_sent + ahead
