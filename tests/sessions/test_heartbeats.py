"""The clock of one session."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from realtime.sessions.heartbeats import Heartbeats
from realtime.stomp import Connection, HeartbeatMissed


def heartbeats_of(client: str) -> Heartbeats:
    """Return the clock of a connected session whose CONNECT had this ``heart-beat``."""
    connection = Connection()
    connection.receive_data(b"CONNECT\nheart-beat:%b\n\n\0" % client.encode())
    connection.next_event()
    connection.connected(session="s", server="tests/1")
    outbox = SimpleNamespace(check_progress=lambda now: float("inf"))
    return Heartbeats(connection, outbox, connect_by=10.0)


def test_silence_of_three_intervals_ends_a_session() -> None:
    heartbeats = heartbeats_of("2000,0")
    heartbeats.heard = 100.0
    assert heartbeats.tick(105.9) == 106.0
    with pytest.raises(HeartbeatMissed):
        heartbeats.tick(106.1)


def test_a_look_while_a_session_works_does_not_end_the_check_of_its_heart_beats() -> None:
    heartbeats = heartbeats_of("2000,0")
    heartbeats.heard = float("inf")
    assert heartbeats.tick(100.0) == 106.0
    heartbeats.heard = 101.0
    with pytest.raises(HeartbeatMissed):
        heartbeats.tick(107.1)


def test_a_client_that_promised_no_heart_beats_may_be_silent() -> None:
    assert heartbeats_of("0,0").tick(1000.0) == float("inf")
