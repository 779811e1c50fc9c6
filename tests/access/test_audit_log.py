"""The audit log: who failed to log in, at whatever door, in lines that nobody can forge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.test import Client
from rest_framework.test import APIClient

from realtime import sign
from realtime.access import audit, passcodes
from realtime.access.passcodes import FREE_FAILURES
from realtime.layer import tickets
from realtime.routes.rules import NEEDS_PUBLISH
from tests.kit.local_client import local_client, local_node
from tests.kit.users import make_user
from tests.sse.test_stream import Stream

ADDRESS = "127.0.0.1"
NOTIFICATION = {"topic": "/topic/service/alice/a", "message": "x"}


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    """Return what was written since it was asked for."""
    monkeypatch.setattr(audit, "_rate", audit._Rate())

    def take() -> list[str]:
        said = [each.getMessage() for each in caplog.records if each.name == "realtime.audit"]
        caplog.clear()
        return said

    return take


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/login/", "/admin/login/"])
def test_a_login_that_fails_in_a_form_is_recorded(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    make_user("alice")
    Client().post(path, {"username": "alice", "password": "wrong"}, REMOTE_ADDR="192.0.2.77")
    [line] = [each.getMessage() for each in caplog.records if each.name == "realtime.audit"]
    assert line == (
        'login-failed address="192.0.2.77" login="alice" reason="wrong login or passcode"'
    )
    assert "wrong " in line and "wonderland" not in caplog.text


@pytest.mark.django_db
def test_a_login_that_is_held_back_is_recorded(lines: Callable[[], Any]) -> None:
    for _ in range(FREE_FAILURES):
        passcodes.failures.note("192.0.2.77", "alice")
    sent = {"username": "alice", "password": "wonderland"}
    Client().post("/login/", sent, REMOTE_ADDR="192.0.2.77")
    assert lines() == ['login-held-back address="192.0.2.77" login="alice" seconds="1"']


@pytest.mark.django_db
def test_who_publishes_without_the_permission_is_recorded(lines: Callable[[], Any]) -> None:
    api = APIClient()
    api.force_login(make_user("alice"))
    assert api.get("/api/notification", HTTP_ACCEPT="text/html").status_code == 200
    assert lines() == []  # it was only shown no form
    assert api.post("/api/notification", NOTIFICATION, format="json").status_code == 403
    assert lines() == [
        f'refused action="publish" user="alice" address="{ADDRESS}" reason="{NEEDS_PUBLISH}"'
    ]


@pytest.mark.django_db
def test_a_ticket_that_is_used_for_more_is_recorded(lines: Callable[[], Any]) -> None:
    ticket = tickets.make(str(make_user("bob", "notifications.publish").pk), ["/topic/other"])
    url = f"/api/notification?ticket={ticket}"
    assert APIClient().post(url, NOTIFICATION, format="json").status_code == 403
    assert lines() == [
        f'refused action="publish" user="bob" address="{ADDRESS}"'
        ' destination="/topic/service/alice/a" reason="the ticket is for other destinations"'
    ]


@pytest.mark.django_db(transaction=True)
async def test_what_is_brought_for_another_destination_is_recorded(
    lines: Callable[[], Any], settings: Any
) -> None:
    settings.STOMP_ROUTING = "tests.ruled_routing"
    settings.STOMP_ANONYMOUS = True
    user = await sync_to_async(make_user)("bob")
    topic, token = "/topic/signed/a", sign("/topic/signed/b")
    of_token = 'reason="the token: the token is for another destination"'
    of_ticket = 'reason="the ticket is for other destinations"'

    async def ticket() -> str:
        return await sync_to_async(tickets.make)(str(user.pk), ["/topic/other"])

    async with local_node():
        for login, headers, reason in (
            ({}, {"token": token}, of_token),
            ({"ticket": await ticket()}, {}, of_ticket),
            ({"ticket": await ticket()}, {"token": token}, of_ticket),
        ):
            async with local_client(**login, **{"x-soft-errors": "true"}) as client:
                await client.send("SUBSCRIBE", {"id": "0", "destination": topic, **headers})
                assert "refused" in (await client.frame("MESSAGE")).headers
            [line] = lines()
            assert f'destination="{topic}"' in line
            assert line.endswith(reason)
            assert token not in line
        assert (await Stream(f"topic={topic}&ticket={await ticket()}").start())[0] == 403
        [line] = lines()
        assert line.endswith(of_ticket)
        assert (await Stream(f"topic={topic}&token={token}").start())[0] == 403
        by_rule, by_token = lines()
        assert "rule=" in by_rule
        assert by_token.endswith(of_token)
        everybodys = "/topic/anyone/alice/a"  # for which the token is not
        assert (await Stream(f"topic={everybodys}&token={token}").start())[0] == 200
        assert lines() == []


def test_no_login_makes_a_line_or_a_field_of_its_own(lines: Any) -> None:
    audit.record("login-failed", login='x"\nlogin-failed address="192.0.2.1', address="192.0.2.7")
    [line] = lines()
    assert "\n" not in line
    assert line.endswith(' address="192.0.2.7"')
    assert ' address="192.0.2.1' not in line
