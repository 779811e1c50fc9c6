"""Passcodes: what is remembered of right ones, and how long wrong ones are held back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User

from realtime.access import passcodes
from realtime.access.credentials import Credentials
from realtime.access.passcodes import Failures, Memory, passcode_user
from realtime.stomp import AccessDenied, Unavailable
from tests.kit.users import make_user

HERE, THERE = "192.0.2.1", "192.0.2.2"


class Clock:
    """A monotonic clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(passcodes, "time", clock)
    return clock


@pytest.fixture
def alice(transactional_db: None) -> User:
    return make_user("alice")


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The logins whose passcodes were hashed."""
    seen: list[str] = []
    authenticate = passcodes.authenticate

    def noted(**credentials: Any) -> Any:
        seen.append(credentials["username"])
        return authenticate(**credentials)

    monkeypatch.setattr(passcodes, "authenticate", noted)
    return seen


async def log_in(passcode: str, login: str = "alice", address: str = HERE) -> Any:
    found = await passcode_user(Credentials(address, login, passcode))
    return found.user if found is not None else None


async def fails(passcode: str = "wrong", login: str = "alice", address: str = HERE) -> None:
    with pytest.raises(AccessDenied) as refused:
        await log_in(passcode, login, address)
    assert refused.value.code == "authentication-failed"


async def held_back(passcode: str = "wrong", login: str = "alice", address: str = HERE) -> float:
    """Return for how long a login is held back."""
    with pytest.raises(Unavailable) as later:
        await log_in(passcode, login, address)
    assert later.value.code == "too-many-failures"
    assert later.value.retry_after is not None
    return later.value.retry_after


async def test_a_network_has_one_line_where_it_waits(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: set[Any] = set()
    for threads in (passcodes.hashing, passcodes.login_threads):
        run = threads.run
        monkeypatch.setattr(
            threads, "run", lambda key, *args, run=run: keys.add(key) or run(key, *args)
        )
    for number in range(2):
        await log_in("wonderland", address=f"2001:db8::{number}")
        await fails(address=f"2001:db8::{number}")
    assert keys == {"2001:db8::/64"}


# What is remembered


async def test_a_right_passcode_is_hashed_once_a_minute(
    alice: User, clock: Clock, hashed: list[str]
) -> None:
    for _ in range(3):
        assert await log_in("wonderland") == alice
    clock.now += passcodes.REMEMBERED_SECONDS - 1
    assert await log_in("wonderland", address=THERE) == alice
    assert len(hashed) == 1
    clock.now += 2
    assert await log_in("wonderland") == alice
    assert len(hashed) == 2


async def test_a_changed_password_is_not_remembered(alice: User, hashed: list[str]) -> None:
    assert await log_in("wonderland") == alice
    alice.set_password("another")
    await alice.asave()
    await fails("wonderland")
    assert await log_in("another") == alice
    assert len(hashed) == 3


async def test_a_deactivated_or_deleted_account_is_not_remembered(alice: User) -> None:
    assert await log_in("wonderland") == alice
    await User.objects.aupdate(is_active=False)
    await fails("wonderland")
    await User.objects.aupdate(is_active=True)
    assert await log_in("wonderland") == alice
    await alice.adelete()
    await fails("wonderland")


async def test_the_passcode_of_one_is_not_that_of_another(alice: User) -> None:
    bob = await sync_to_async(make_user)("bob", password="builder")
    assert await log_in("wonderland") == alice
    await fails("wonderland", "bob")
    assert await log_in("builder", "bob") == bob


def test_a_passcode_that_is_no_password_of_ours_is_not_remembered(alice: User) -> None:
    memory = Memory()
    alice.set_unusable_password()
    alice.save()
    memory.remember(alice, "of a directory")
    assert memory.recall("alice", "of a directory") is None


def test_memory_is_bounded_and_has_no_passcode(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passcodes, "MAX_REMEMBERED", 3)
    memory = Memory()
    for number in range(5):
        memory.remember(alice, f"passcode-{number}")
    found = [n for n in range(5) if memory.recall("alice", f"passcode-{n}") is not None]
    assert found == [2, 3, 4]
    assert b"passcode" not in b"".join(memory._until)


@pytest.mark.parametrize("passcode", ["", "é\0\n", "x" * 100_000])
async def test_any_text_may_be_a_wrong_passcode(alice: User, passcode: str) -> None:
    assert await log_in("wonderland") == alice
    await fails(passcode)


# Who failed


async def test_failures_are_held_back_longer_and_longer(
    alice: User, clock: Clock, hashed: list[str]
) -> None:
    for _ in range(passcodes.FREE_FAILURES):
        await fails()
    delays = []
    for _ in range(8):
        delays.append(await held_back())
        clock.now += delays[-1]
        await fails()
    assert delays == [1, 2, 4, 8, 16, 32, 60, 60]
    assert len(hashed) == passcodes.FREE_FAILURES + 8
    assert await held_back("wonderland") > 0


async def test_a_right_passcode_from_elsewhere_is_not_held_back(alice: User) -> None:
    for _ in range(passcodes.FREE_FAILURES):
        await fails()
    await held_back("wonderland")
    assert await log_in("wonderland", address=THERE) == alice
    # It is remembered now, and no guess.
    assert await log_in("wonderland") == alice


async def test_an_address_that_tries_many_accounts_is_held_back(alice: User) -> None:
    for number in range(passcodes.FREE_FAILURES_OF_ADDRESS):
        await fails(login=f"nobody-{number}")
    assert await held_back("wonderland") > 0
    assert await log_in("wonderland", address=THERE) == alice


async def test_who_gets_it_right_begins_anew(alice: User) -> None:
    for _ in range(3):
        for _ in range(passcodes.FREE_FAILURES - 1):
            await fails()
        assert await log_in("wonderland") == alice


async def test_what_waits_together_to_be_hashed_is_held_back_too(
    alice: User, hashed: list[str]
) -> None:
    guesses = [log_in(f"guess-{number}") for number in range(60)]
    answers = await asyncio.gather(*guesses, return_exceptions=True)
    assert {type(answer) for answer in answers} == {AccessDenied, Unavailable}
    assert len(hashed) <= passcodes.FREE_FAILURES + passcodes.hashing._threads


def test_failures_are_forgotten_in_time_and_bounded(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = Failures()
    for _ in range(10):
        failures.note(HERE, "alice")
    clock.now += passcodes.FAILURES_SECONDS
    failures.note(HERE, "alice")
    assert failures.delay(HERE, "alice") == 0
    monkeypatch.setattr(passcodes, "MAX_FAILURES", 8)
    for number in range(100):
        failures.note(f"192.0.2.{number}", "alice")
    assert len(failures._counts) == 8


def test_all_addresses_of_a_network_fail_together(clock: Clock) -> None:
    failures = Failures()
    for number in range(passcodes.FREE_FAILURES):
        failures.note(f"2001:db8::{number:x}", "alice")
    assert failures.delay("2001:db8::ffff:1", "alice") > 0
    assert failures.delay("2001:db8:0:1::1", "alice") == 0
    failures.forget("2001:db8::9", "alice")
    assert failures.delay("2001:db8::1", "alice") == 0


def test_of_a_login_that_failed_no_more_is_kept_the_longer_it_is() -> None:
    failures = Failures()
    failures.note(HERE, "x" * 1_000_000)
    assert failures.delay(HERE, "x" * 1_000_000) == 0
    assert len(str(failures._counts)) < 300
