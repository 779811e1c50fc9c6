"""What each door of a gateway answers while PostgreSQL is away."""

from __future__ import annotations

import http.client
import json
import re
import time
from collections.abc import Iterator

import pytest

from tests.kit.clients import StompClient
from tests.kit.event_client import EventClient
from tests.kit.installation import Installation, installed
from tests.kit.postgres import needs_postgres

pytestmark = needs_postgres

#: ``STOMP_RECHECK_SECONDS`` of an installation.
KNOWN_SECONDS = 1.0


@pytest.fixture(scope="module")
def away(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation whose database was stopped."""
    with installed(tmp_path_factory.mktemp("away")) as installation:
        assert installation.publish()[0] == 202
        installation.database.stop()
        yield installation


def is_unavailable(answer: tuple[int, http.client.HTTPMessage, str]) -> bool:
    status, headers, body = answer
    assert status == 503, body
    assert int(headers["Retry-After"]) > 0
    return "the database is away" in json.loads(body)["detail"]


LIVE = (
    "sessions",
    "topics",
    "users/olga",
    "nodes",
    "presence?topic=/topic/a",
    "history?topic=/topic/a",
)


@pytest.mark.parametrize(
    "path", [f"/api/v1/{name}" for name in LIVE] + ["/api/v1/schema", "/metrics"]
)
def test_the_api_says_when_to_come_again(away: Installation, path: str) -> None:
    assert is_unavailable(away.ask(path, **away.headers))
    assert is_unavailable(away.ask(path, Cookie=f"sessionid={away.cookie}"))


def test_so_it_does_to_services_that_publish(away: Installation) -> None:
    time.sleep(KNOWN_SECONDS)  # until then who has just published is known without it
    assert is_unavailable(away.publish())
    ticket = json.dumps({"topics": ["/topic/a"]})
    headers = {**away.headers, "Content_Type": "application/json"}
    assert is_unavailable(away.ask("/api/ticket", "POST", ticket, **headers))


PAGES = ("/", "/admin/", "/admin/realtime/sessionrecord/", "/api/docs/", "/api/notification")


@pytest.mark.parametrize("path", PAGES)
def test_browsers_get_a_short_page(away: Installation, path: str) -> None:
    headers = {"Cookie": f"sessionid={away.cookie}", "Accept": "text/html"}
    status, answered, body = away.ask(path, **headers)
    assert (status, int(answered["Retry-After"]) > 0) == (503, True)
    assert "The database of the gateway is away" in body
    assert answered["Content-Security-Policy"]


@pytest.mark.parametrize("path", ["/login/", "/admin/login/"])
def test_so_does_who_logs_in(away: Installation, path: str) -> None:
    status, answered, body = away.ask(path)
    assert status == 200
    csrf = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', body)
    assert csrf is not None
    form = f"username=olga&password=olga&csrfmiddlewaretoken={csrf[1]}"
    cookie = answered["Set-Cookie"].partition(";")[0]
    kind = "application/x-www-form-urlencoded"
    status, _, body = away.ask(path, "POST", form, Cookie=cookie, Content_Type=kind)
    assert (status, "The database of the gateway is away" in body) == (503, True)


@pytest.mark.parametrize("login", [{"login": "olga", "passcode": "olga"}, {"authorization": ""}])
async def test_who_connects_is_told_to_come_again(
    away: Installation, login: dict[str, str]
) -> None:
    connect = {**(login if "login" in login else away.headers)}
    async with StompClient(away.gateway.stomp, connect={"accept-version": ""}) as client:
        await client.send("CONNECT", {"accept-version": "1.2", **connect})
        error = await client.frame("ERROR")
        assert error.headers["code"] == "unavailable"
        assert int(error.headers["retry-after"]) > 0
        assert await client.close_code() == 4001


async def test_so_is_who_listens_to_events(away: Installation) -> None:
    async with EventClient(away.gateway.url, "/topic/a", **away.headers) as client:
        assert client.status == 503
        assert int(client.headers["retry-after"]) > 0
        assert "the database is away" in json.loads(await client.body())["detail"]
