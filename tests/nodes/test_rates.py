"""Rates of sessions: since the last look, and nothing is counted while nobody looks."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest

from realtime.nodes import rates
from realtime.nodes.rates import FIRST_SECONDS, LOOK_SECONDS, OLD_SECONDS, Rates

real_sleep = asyncio.sleep


class Clock:
    """A clock that only sleeping moves on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.slept: list[float] = []
        monkeypatch.setattr(time, "time", lambda: self.now)
        monkeypatch.setattr(rates.asyncio, "sleep", self.sleep)

    async def sleep(self, seconds: float) -> None:
        if seconds > 0:
            self.slept.append(round(seconds, 3))
            self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def member(id: str, connected_at: float = 0.0) -> Any:
    session = SimpleNamespace(id=id, messages_in=0, messages_out=0, connected_at=connected_at)
    return SimpleNamespace(session=session)


async def test_the_first_look_takes_a_moment_and_the_next_ones_none(clock: Clock) -> None:
    alice = member("alice")
    alice.session.messages_out = 7000  # before anybody looked
    looked = Rates()
    asking = asyncio.create_task(looked.look([alice]))
    while not looked._looks:
        await real_sleep(0)
    alice.session.messages_out += 3
    await asking
    assert clock.slept == [FIRST_SECONDS]
    assert looked.of(alice.session) == (0.0, 3 / FIRST_SECONDS)
    await looked.look([alice])
    assert clock.slept == [FIRST_SECONDS]


async def test_it_is_compared_with_a_look_that_is_neither_too_new_nor_too_old(clock: Clock) -> None:
    alice, looked = member("alice"), Rates()
    await looked.look([alice])
    clock.now = 1000 + LOOK_SECONDS
    alice.session.messages_in = 100
    await looked.look([alice])  # a new one, and the first is compared with
    assert looked.of(alice.session) == (100 / LOOK_SECONDS, 0.0)
    clock.now += LOOK_SECONDS
    alice.session.messages_in += 10
    await looked.look([alice])  # the second is now
    assert looked.of(alice.session) == (10 / LOOK_SECONDS, 0.0)
    clock.now += OLD_SECONDS
    before = len(clock.slept)
    await looked.look([alice])
    assert clock.slept[before:] == [FIRST_SECONDS]
    assert looked.of(alice.session) == (0.0, 0.0)


async def test_who_has_come_since_is_counted_from_the_beginning(clock: Clock) -> None:
    looked = Rates()
    await looked.look([])
    bob = member("bob", connected_at=1002.0)
    bob.session.messages_in = 8
    clock.now = 1004.0
    assert looked.of(bob.session) == (4.0, 0.0)
    assert Rates().of(bob.session) == (4.0, 0.0)
    clock.now = 1002.0
    assert looked.of(bob.session).messages_in == round(8 / FIRST_SECONDS, 1)
