"""Dead letters in the admin: who may see them and do what, and what is shown."""

from __future__ import annotations

import html
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from notifications.bridges.routes import IncomingRoute, Kind
from notifications.dead_letters import letters as dead_letters
from notifications.dead_letters.letters import Letter, newest
from tests.conftest import free_port
from tests.dead_letters.test_dead_letters import dead_letter, published
from tests.kit.bridge_routes import route

LIST = "/admin/notifications/deadletter/"
SCRIPT = "<script>alert(1)</script>"

pytestmark = pytest.mark.django_db


@pytest.fixture
def routes(monkeypatch: pytest.MonkeyPatch) -> list[IncomingRoute]:
    """A stream and a channel: what the routing table has."""
    routes = [route("stream"), route("channel")]
    monkeypatch.setattr("notifications.dead_letters.admin.incoming_routes", lambda: routes)
    return routes


@pytest.fixture
def letter(routes: list[IncomingRoute], redis_client: redis.Redis) -> Letter:
    return dead_letter(redis_client, routes[0], {"topic": "/topic/a", "message": "hello"})


def somebody(*permissions: str) -> Client:
    """Return the browser of a member of staff with these permissions."""
    user = User.objects.create_user(f"somebody{User.objects.count()}", is_staff=True)
    user.user_permissions.set(
        Permission.objects.get(codename=f"{name}_deadletter") for name in permissions
    )
    client = Client(enforce_csrf_checks=False)
    client.force_login(user)
    return client


def page_of(letter: Letter) -> str:
    return reverse("admin:notifications_deadletter_change", args=[quote(str(letter.key))])


def act(client: Client, action: str, *letters: Letter, **data: str) -> str:
    """Do something with letters, and return the page that follows."""
    keys = [str(letter.key) for letter in letters]
    response = client.post(LIST, {"action": action, "key": keys, **data}, follow=True)
    assert response.status_code == 200
    return response.content.decode()


# Who may do what


def test_without_permission_there_is_nothing_to_see(letter: Letter) -> None:
    client = somebody()
    assert "Dead letters" not in client.get("/admin/").content.decode()
    for address in (LIST, page_of(letter)):
        assert client.get(address).status_code == 403
    for action in ("redrive", "drop"):
        data = {"action": action, "key": str(letter.key), "confirmed": "yes"}
        assert client.post(LIST, data).status_code == 403
    assert newest([letter.key.route_id], 5) == [letter]


def test_a_stranger_is_asked_to_log_in(letter: Letter) -> None:
    for address in (LIST, page_of(letter)):
        response = Client().get(address)
        assert response.status_code == 302
        assert "/login/" in response["Location"]


def test_who_may_view_may_look_and_no_more(letter: Letter) -> None:
    client = somebody("view")
    assert "Dead letters" in client.get("/admin/").content.decode()
    for address in (LIST, page_of(letter)):
        page = client.get(address).content.decode()
        assert "no envelope" in page
        assert "redrive" not in page
        assert "drop" not in page
    for action in ("redrive", "drop"):
        data = {"action": action, "key": str(letter.key), "confirmed": "yes"}
        assert client.post(LIST, data).status_code == 403
    assert newest([letter.key.route_id], 5) == [letter]


@pytest.mark.parametrize(("may", "may_not"), [("change", "drop"), ("delete", "redrive")])
def test_to_redrive_and_to_drop_are_two_permissions(may: str, may_not: str, letter: Letter) -> None:
    client = somebody("view", may)
    data = {"action": may_not, "key": str(letter.key), "confirmed": "yes"}
    assert client.post(LIST, data).status_code == 403
    assert f'value="{may_not}"' not in client.get(LIST).content.decode()
    assert f'value="{may_not}"' not in client.get(page_of(letter)).content.decode()
    assert newest([letter.key.route_id], 5) == [letter]


def test_a_strange_page_can_do_nothing(admin_user: User, letter: Letter) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    data = {"action": "drop", "key": str(letter.key), "confirmed": "yes"}
    assert client.post(LIST, data).status_code == 403
    assert client.get(LIST, data).status_code == 200
    assert newest([letter.key.route_id], 5) == [letter]


# What is shown


def test_letters_of_all_routes_are_listed_or_of_one(
    admin_client: Client, routes: list[IncomingRoute], redis_client: redis.Redis
) -> None:
    for each in routes:
        dead_letter(redis_client, each, {"n": "1"}, f"reason of {each.kind}")
        time.sleep(0.002)  # of one millisecond, the order would be that of their names
    page = admin_client.get(LIST).content.decode()
    assert page.index("reason of channel") < page.index("reason of stream")  # the newest first
    page = admin_client.get(LIST, {"route": routes[0].id}).content.decode()
    assert "reason of stream" in page
    assert "reason of channel" not in page


def test_many_letters_have_pages(
    admin_client: Client, routes: list[IncomingRoute], redis_client: redis.Redis
) -> None:
    for number in range(60):
        dead_letter(redis_client, routes[number % 2], {"n": "1"}, f"reason {number};")
    pages = admin_client.get(LIST).content.decode()
    assert pages.count("action-select") == 50
    assert "60 dead letters" in pages
    [older] = re.findall(r'href="([^"]+)">Older<', pages)
    second = admin_client.get(LIST + html.unescape(older)).content.decode()
    assert second.count("action-select") == 10
    assert all(f"reason {number};" in pages + second for number in range(60))


def test_where_there_are_none_it_says_so(admin_client: Client, routes: list[IncomingRoute]) -> None:
    assert "No dead letters" in admin_client.get(LIST).content.decode()


@pytest.mark.parametrize("kind", ["stream", "channel"])
def test_nothing_that_came_is_html(
    kind: Kind, admin_client: Client, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    evil = route(kind, source=SCRIPT)
    monkeypatch.setattr("notifications.dead_letters.admin.incoming_routes", lambda: [evil])
    original = {
        SCRIPT: f'{{"a": "{SCRIPT}"}}',
        "payload": SCRIPT,
        "channel": f"\0{SCRIPT}\xff".encode("latin-1"),
    }
    letter = dead_letter(redis_client, evil, original, SCRIPT)
    for response in (
        admin_client.get(LIST),
        admin_client.get(LIST, {"route": SCRIPT}),
        admin_client.get(page_of(letter)),
        admin_client.post(LIST, {"action": "drop", "key": str(letter.key)}),
        admin_client.post(LIST, {"action": "redrive", "key": str(letter.key)}, follow=True),
    ):
        assert response.status_code == 200
        assert "&lt;script&gt;" in response.content.decode()
        assert SCRIPT not in response.content.decode()


def test_a_page_shows_the_whole_letter(
    admin_client: Client, routes: list[IncomingRoute], redis_client: redis.Redis
) -> None:
    original = {"json": '{"a":[1]}', "text": "a€\x07", "bytes": b"\xff\xfeab"}
    letter = dead_letter(redis_client, routes[0], original, "no good")
    page = admin_client.get(page_of(letter)).content.decode()
    assert "no good" in page
    assert "{\n  &quot;a&quot;: [\n    1\n  ]\n}" in page
    assert "a€␇" in page
    assert "ff fe 61 62" in page


def test_a_page_says_that_a_letter_was_cut(
    admin_client: Client, routes: list[IncomingRoute], redis_client: redis.Redis
) -> None:
    letter = dead_letter(redis_client, routes[0], {"message": "€" * 100_000})
    page = admin_client.get(page_of(letter)).content.decode()
    assert "293.0\xa0KB in 1 field" in page
    assert "too large to be kept whole" in page
    assert 'value="redrive"' not in page
    assert "€€€" in page


def test_a_letter_that_is_gone_leads_back_to_the_list(
    admin_client: Client, routes: list[IncomingRoute], letter: Letter
) -> None:
    dead_letters.drop(routes[0], [letter.key.entry_id])
    response = admin_client.get(page_of(letter), follow=True)
    assert response.redirect_chain[-1][0] == LIST
    assert "not there any more" in response.content.decode()


@pytest.mark.parametrize(
    "address", ["nonsense/change/", "1-0/change/", f"{10**19}-0@a/change/", "?before=nonsense"]
)
def test_what_cannot_be_is_not_found(address: str, admin_client: Client, routes: Any) -> None:
    assert admin_client.get(LIST + address).status_code == 404


# What can be done


def test_selected_letters_are_published_again(
    admin_client: Client, routes: list[IncomingRoute], redis_client: redis.Redis
) -> None:
    letters = [dead_letter(redis_client, routes[0], {"n": str(number)}) for number in range(3)]
    cut = dead_letter(redis_client, routes[0], {"n": "x" * 100_000})
    page = act(admin_client, "redrive", letters[0], letters[2], cut)
    assert "Published again: 2 dead letters." in page
    assert "Too large to be kept whole" in page
    assert published(redis_client, routes[0]) == [{b"n": b"0"}, {b"n": b"2"}]
    assert newest([routes[0].id], 5) == [cut, letters[1]]
    assert {entry.object_id for entry in LogEntry.objects.all()} == {
        str(letters[0].key), str(letters[2].key),
    }  # fmt: skip


def test_a_letter_that_somebody_else_had_first_is_not_published_twice(
    admin_client: Client, routes: list[IncomingRoute], redis_client: redis.Redis, letter: Letter
) -> None:
    assert "Not tried" not in act(admin_client, "redrive", letter, letter)
    assert "Not there any more: 1 dead letter." in act(admin_client, "redrive", letter)
    assert len(published(redis_client, routes[0])) == 1


def test_letters_that_nobody_would_hear_are_kept(
    admin_client: Client, routes: list[IncomingRoute], redis_client: redis.Redis
) -> None:
    original = {"channel": routes[1].source, "payload": "x"}
    letters = [dead_letter(redis_client, routes[1], original) for _ in range(3)]
    page = act(admin_client, "redrive", *letters)
    assert "no bridge hears the Redis channel: 1 dead letter." in page
    assert "Not tried: 2 dead letters." in page
    assert len(newest([routes[1].id], 5)) == 3


def test_selected_letters_are_dropped_once_that_is_confirmed(
    admin_client: Client, routes: list[IncomingRoute], redis_client: redis.Redis
) -> None:
    letters = [dead_letter(redis_client, routes[0], {"n": str(number)}) for number in range(3)]
    page = act(admin_client, "drop", *letters[:2])
    assert "Drop 2 dead letters for good?" in page
    assert len(newest([routes[0].id], 5)) == 3
    page = act(admin_client, "drop", *letters[:2], confirmed="yes")
    assert "Dropped: 2 dead letters." in page
    assert newest([routes[0].id], 5) == letters[2:]
    assert LogEntry.objects.filter(change_message="Dropped.").count() == 2


@pytest.mark.parametrize("data", [{}, {"action": "redrive"}, {"action": "other", "key": "1-0@a"}])
def test_without_a_selection_nothing_happens(
    data: dict[str, str], admin_client: Client, letter: Letter
) -> None:
    page = admin_client.post(LIST, data, follow=True).content.decode()
    assert "Select dead letters, and what to do with them." in page
    assert newest([letter.key.route_id], 5) == [letter]


def test_letters_of_a_route_that_is_no_more_are_left_alone(
    admin_client: Client, letter: Letter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notifications.dead_letters.admin.incoming_routes", lambda: [])
    assert "Not tried: 1 dead letter." in act(admin_client, "redrive", letter)
    assert "Dropped: 0 dead letters." in act(admin_client, "drop", letter, confirmed="yes")
    assert newest([letter.key.route_id], 5) == [letter]


# While Redis is away


@pytest.fixture
def no_redis(settings: Any) -> Iterator[None]:
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}"
    yield


def test_redis_away_is_said(admin_client: Client, letter: Letter, no_redis: None) -> None:
    for response in (
        admin_client.get(LIST),
        admin_client.get(page_of(letter)),
        admin_client.post(LIST, {"action": "redrive", "key": str(letter.key)}),
        admin_client.post(LIST, {"action": "drop", "key": str(letter.key), "confirmed": "yes"}),
    ):
        assert response.status_code == 503
        assert "can't be read from Redis" in response.content.decode()
