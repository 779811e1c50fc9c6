"""What is published with a transaction, or not at all; and what is said of who does otherwise."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, transaction

from realtime import broker, publish, publish_on_commit
from realtime.django import commit
from realtime.messages import Checked, MessageTooLarge
from tests.django.conftest import bodies

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The bodies of each batch that is published."""
    seen: list[list[str]] = []
    publish_many = commit.publish_many

    def look(messages: list[Checked]) -> list[str]:
        seen.append([each.message.text for each in messages])
        return publish_many(messages)

    monkeypatch.setattr(commit, "publish_many", look)
    return seen


@contextmanager
def rolled_back() -> Iterator[None]:
    try:
        with transaction.atomic():
            yield
            raise LookupError
    except LookupError:
        pass


def test_nothing_is_published_before_the_commit_and_all_with_it() -> None:
    with transaction.atomic():
        publish_on_commit("/topic/a", "one", {"note": "kept"})
        publish_on_commit("/topic/a", {"two": 2})
        assert bodies("/topic/a") == []
    assert bodies("/topic/a") == ["one", '{"two": 2}']


def test_a_rollback_takes_it_back() -> None:
    with rolled_back():
        publish_on_commit("/topic/a", "never")
    with transaction.atomic():
        publish_on_commit("/topic/a", "one")
    assert bodies("/topic/a") == ["one"]


def test_without_a_transaction_it_is_published_at_once() -> None:
    publish_on_commit("/topic/a", "one")
    assert bodies("/topic/a") == ["one"]


def test_a_commit_is_one_batch_in_order_without_the_savepoints_rolled_back(
    batches: list[list[str]],
) -> None:
    with transaction.atomic():
        publish_on_commit("/topic/a", "one")
        transaction.on_commit(lambda: None)
        with transaction.atomic():
            publish_on_commit("/topic/b", "two")
            with rolled_back():
                publish_on_commit("/topic/a", "never")
        publish_on_commit("/topic/a", "three")
        with rolled_back():
            publish_on_commit("/topic/a", "never")
    with transaction.atomic():
        publish_on_commit("/topic/a", "four")
    assert batches == [["one", "two", "three"], ["four"]]
    assert bodies("/topic/a") == ["one", "three", "four"]


def test_if_the_first_is_rolled_back_the_others_are_still_one_batch(
    batches: list[list[str]],
) -> None:
    with transaction.atomic():
        with rolled_back():
            publish_on_commit("/topic/a", "never")
        publish_on_commit("/topic/a", "one")
        publish_on_commit("/topic/a", "two")
    assert batches == [["one", "two"]]


def test_what_a_hook_publishes_has_no_transaction_to_wait_for(batches: list[list[str]]) -> None:
    with transaction.atomic():
        transaction.on_commit(lambda: publish_on_commit("/topic/a", "by a hook"))
        publish_on_commit("/topic/a", "one")
    assert batches == [["by a hook"], ["one"]]


def test_the_content_is_as_it_was(batches: list[list[str]]) -> None:
    content = {"number": 1}
    with transaction.atomic():
        publish_on_commit("/topic/a", content)
        content["number"] = 2
    assert batches == [['{"number": 1}']]


def test_an_idempotency_key_counts_at_the_commit() -> None:
    for _ in range(2):
        with transaction.atomic():
            publish_on_commit("/topic/a", "once", idempotency_key="k")
    assert bodies("/topic/a") == ["once"]


def test_what_can_t_be_published_is_said_at_once() -> None:
    with transaction.atomic():
        for wrong, error in (
            (lambda: publish_on_commit("/app/a", "x"), ValueError),
            (lambda: publish_on_commit("/topic/a", b"x" * 1_000_000), MessageTooLarge),
            (lambda: publish_on_commit("/topic/a", object()), TypeError),
        ):
            with pytest.raises(error):
                wrong()
    assert bodies("/topic/a") == []


def test_without_redis_what_was_committed_stays_so_and_it_is_logged(
    redis_away: None, caplog: pytest.LogCaptureFixture
) -> None:
    seen = []
    with transaction.atomic():
        publish_on_commit("/topic/a", "one")
        publish_on_commit("/topic/b", "two")
        transaction.on_commit(lambda: seen.append("other hooks run"))
    assert seen == ["other hooks run"]
    said = "2 messages of a transaction were not published, the first to /topic/a"
    assert [record.getMessage() for record in caplog.records] == [said]


def test_tests_see_them_with_django_s_own_means(
    batches: list[list[str]], django_capture_on_commit_callbacks: Callable[..., Any]
) -> None:
    with transaction.atomic():
        publish_on_commit("/topic/a", "not captured")
        with django_capture_on_commit_callbacks(execute=True) as callbacks:
            publish_on_commit("/topic/a", "one")
            publish_on_commit("/topic/a", "two")
        assert (len(callbacks), batches) == (2, [["one", "two"]])
        transaction.set_rollback(True)


def test_of_ten_thousand_in_a_transaction_the_last_costs_as_little_as_the_first() -> None:
    with transaction.atomic():
        for number in range(10_000):
            publish_on_commit("/topic/a", str(number))
        hooks = [hook for _, hook, _ in connection.run_on_commit]
        assert len({id(hook.batch) for hook in hooks}) == 1
        transaction.set_rollback(True)


@pytest.fixture
def not_warned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "_warned", False)


def test_publish_in_a_transaction_is_warned_of_once_with_its_place_while_debug_is_on(
    not_warned: None, settings: Any
) -> None:
    settings.DEBUG = True
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        publish("/topic/a", "outside")
        assert said == []
        with transaction.atomic():
            publish("/topic/a", "inside")
            publish("/topic/a", "again")
    [warning] = said
    assert "publish_on_commit" in str(warning.message)
    assert warning.filename == __file__


def test_with_debug_off_nobody_looks(not_warned: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "connections", None)
    with transaction.atomic():
        publish("/topic/a", "inside")
    assert bodies("/topic/a") == ["inside"]


def test_publish_on_commit_is_not_warned_of(not_warned: None, settings: Any) -> None:
    settings.DEBUG = True
    with transaction.atomic():
        publish_on_commit("/topic/a", "one")
    assert bodies("/topic/a") == ["one"]


@pytest.mark.parametrize("name", ["apublish", "notify", "publish", "publish_on_commit"])
def test_names_are_imported_when_they_are_asked_for(name: str) -> None:
    code = f"""
import sys, realtime
assert "django.db" not in sys.modules
import django
from django.conf import settings
own = "django.contrib."
apps = [own + "auth", own + "contenttypes", own + "sessions", "realtime"]
settings.configure(SECRET_KEY="x", INSTALLED_APPS=apps)
django.setup()
assert callable(realtime.{name})
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_realtime_needs_no_django_rest_framework() -> None:
    code = """
import sys
sys.modules["rest_framework"] = None
import django
from django.conf import settings
own = "django.contrib."
apps = [own + "auth", own + "contenttypes", own + "sessions", "realtime"]
settings.configure(SECRET_KEY="x", INSTALLED_APPS=apps)
django.setup()
from realtime.messages.body import as_bad_body
import realtime, realtime.django.changes, realtime.django.commit, realtime.django.outbox
import realtime.django.users, realtime.sessions.handlers
assert as_bad_body(ValueError("no")) is None
assert not [name for name in sys.modules if name.startswith("rest_framework.")]
"""
    subprocess.run([sys.executable, "-c", code], check=True)
