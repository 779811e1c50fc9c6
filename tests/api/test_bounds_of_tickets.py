"""A ticket is for what it says, for once, and no longer than the login that it was made with."""

from __future__ import annotations

import time
from typing import Any

import pytest
from django.test import Client
from rest_framework.authtoken.models import Token

from realtime import sign
from realtime.access.authentication import authenticate_sync
from realtime.access.credentials import Credentials, Login
from realtime.layer import tickets
from realtime.layer.tickets import ticket_user
from realtime.sessions.authorization import Grants
from realtime.sessions.session import Session
from realtime.stomp import AccessDenied
from tests.kit.users import make_user

pytestmark = pytest.mark.django_db


def post(path: str, content: Any, **headers: str) -> Any:
    return Client().post(path, content, content_type="application/json", headers=headers)


def test_whoever_is_logged_in_gets_one_and_comes_in_with_it_once() -> None:
    token = Token.objects.create(user=make_user("alice"))
    answer = post("/api/ticket", {}, authorization=f"Bearer {token.key}")
    assert (answer.status_code, answer.json()["seconds"]) == (201, 30)
    credentials = Credentials(ticket=answer.json()["ticket"])
    login = ticket_user(credentials)
    assert login is not None
    assert (login.user.username, login.how) == ("alice", "ticket")
    with pytest.raises(AccessDenied):
        ticket_user(credentials)
    assert post("/api/ticket", {}).status_code == 401


@pytest.mark.parametrize("field", ["destination", "Destinations", "topics"])
def test_a_misspelled_bound_makes_no_ticket(field: str) -> None:
    token = Token.objects.create(user=make_user("alice"))
    answer = post("/api/ticket", {field: ["/topic/a"]}, authorization=f"Bearer {token.key}")
    assert answer.status_code == 400
    assert answer.json() == {field: ["There is no such field."]}


def test_a_ticket_makes_no_other_tickets() -> None:
    ticket = tickets.make(str(make_user("alice").pk), ["/topic/a"])
    answer = post(f"/api/ticket?ticket={ticket}", {})
    assert (answer.status_code, answer.json()["detail"]) == (403, "a ticket makes no other tickets")


def test_a_ticket_publishes_and_looks_back_where_it_is_for_only(settings: Any) -> None:
    settings.STOMP_ROUTING = "tests.routing"  # which allows everything
    user = make_user("backend", "notifications.publish")
    for topic, status in (("/topic/a", 202), ("/topic/b", 403)):
        ticket = tickets.make(str(user.pk), ["/topic/a"])
        answer = post(f"/api/notification?ticket={ticket}", {"topic": topic, "message": "x"})
        assert answer.status_code == status, answer.content
    ticket = tickets.make(str(user.pk), ["/topic/a"])
    answer = Client().get("/api/notification", {"topic": "/topic/b", "ticket": ticket})
    assert answer.status_code == 403
    assert "this ticket is not for '/topic/b'" in answer.json()["detail"]


class Alice:
    is_authenticated = True
    password = ""

    def get_username(self) -> str:
        return "alice"


async def test_what_was_signed_for_its_user_widens_no_ticket() -> None:
    grants = Grants(Session(login=Login(Alice(), "ticket", destinations=("/topic/a",))))
    await grants.grant("0", "/topic/a", tokens=[sign("/topic/a", user="alice")])
    with pytest.raises(AccessDenied, match="not for '/topic/b'"):
        await grants.grant("1", "/topic/b", tokens=[sign("/topic/b", user="alice")])
    assert list(grants.signed) == ["0"]


async def test_a_ticket_for_a_topic_is_not_for_the_queues_of_its_user() -> None:
    login = Login(Alice(), "ticket", destinations=("/topic/a", "/user/queue/news"))
    grants = Grants(Session(login=login))
    await grants.grant("0", "/user/queue/news")
    with pytest.raises(AccessDenied, match="not for '/user/queue/other'"):
        await grants.grant("1", "/user/queue/other")


def test_what_comes_in_with_a_ticket_ends_with_the_login_that_it_was_made_with(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    until = time.time() + 600
    user = make_user("alice")

    def for_a_while(credentials: Credentials) -> Login | None:
        return Login(user, "jwt", until=until) if credentials.authorization else None

    monkeypatch.setattr("tests.api.for_a_while", for_a_while, raising=False)
    settings.STOMP_AUTHENTICATORS = ["tests.api.for_a_while", "realtime.layer.tickets.ticket_user"]
    answer = post("/api/ticket", {}, authorization="Bearer x")
    login = authenticate_sync(Credentials(ticket=answer.json()["ticket"]))
    assert login is not None
    assert login.until == until
