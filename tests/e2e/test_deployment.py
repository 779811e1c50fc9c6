"""
What docker-compose.yml starts, as processes: nginx, HAProxy and Caddy with TLS before two gateways,
PostgreSQL, Valkey.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import ssl
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import redis
from websockets.exceptions import InvalidStatus

from tests.kit.browser_of_https import ADDRESS, Browser
from tests.kit.clients import StompClient
from tests.kit.deployment import make_secrets, needs
from tests.kit.environment import free_port
from tests.kit.postgres import Postgres, needs_postgres
from tests.kit.processes import TIMEOUT, Process
from tests.kit.stack import Stack, proxy, started, token_of_olga

pytestmark = [needs_postgres, needs("openssl")]


@pytest.fixture(scope="module")
def all_started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Postgres]]:
    with started(tmp_path_factory.mktemp("stack"), ALLOWED_HOSTS="localhost") as both:
        yield both


@pytest.fixture(scope="module")
def stack(all_started: tuple[Stack, Postgres]) -> Stack:
    return all_started[0]


@pytest.fixture(scope="module")
def postgres(all_started: tuple[Stack, Postgres]) -> Postgres:
    return all_started[1]


@pytest.fixture(scope="module")
def token(stack: Stack) -> str:
    return token_of_olga(stack)


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=needs(name)) for name in ("nginx", "haproxy", "caddy")],
)
def browser(
    request: pytest.FixtureRequest, stack: Stack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Browser]:
    """A browser before a real proxy, with TLS on a port that is not 443."""
    folder = tmp_path_factory.mktemp(request.param)
    before = proxy(stack, request.param, folder)
    plain, port = free_port(), free_port()
    command = before.command(before.write(plain, port))
    tls = ssl.create_default_context(cafile=stack.secrets / "tls" / "fullchain.pem")
    with Process(command, folder / "log", HOME=str(folder), XDG_DATA_HOME=str(folder)):
        browser = Browser(port, plain, tls)
        deadline = time.monotonic() + TIMEOUT
        while not browser.answers():
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.1)
        yield browser


# Through each proxy


async def test_websockets_of_the_gateways_own_pages_and_posts_pass(
    browser: Browser, token: str
) -> None:
    # Two, so that both gateways have one: what is posted to one is heard at the other.
    async with browser.stomp(token) as one, browser.stomp(token) as other:
        for client in (one, other):
            await client.subscribe("/topic/toast")
        notification = {"topic": "/topic/toast", "message": "through"}
        status, _ = await asyncio.to_thread(
            browser.post, "/api/notification", notification, token, Origin=browser.origin
        )
        assert status == 202
        for client in (one, other):
            assert (await client.message()).body == b"through"


async def test_foreign_pages_do_not_get_in(browser: Browser) -> None:
    with pytest.raises(InvalidStatus, match="403"):
        async with StompClient(browser.address, ssl=browser.tls, origin="https://evil.example"):
            pass


async def test_events_pass_at_once(browser: Browser, token: str) -> None:
    reader, writer = await asyncio.open_connection(
        "localhost", browser.port, ssl=browser.tls, local_addr=(ADDRESS, 0)
    )
    writer.write(
        f"GET /api/events?topic=/topic/toast HTTP/1.1\r\nHost: localhost:{browser.port}\r\n"
        f"Origin: {browser.origin}\r\nAuthorization: Token {token}\r\n\r\n".encode()
    )
    async with asyncio.timeout(10):
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 200 " in head.splitlines()[0]
        await reader.readuntil(b"event: subscribed")
        notification = {"topic": "/topic/toast", "message": "at once"}
        status, _ = await asyncio.to_thread(browser.post, "/api/notification", notification, token)
        assert status == 202
        await reader.readuntil(b"at once")
    writer.transport.abort()


async def test_the_admin_takes_the_login_and_shows_from_where_clients_come(
    browser: Browser, token: str
) -> None:
    forged = {"X-Forwarded-For": "192.0.2.66", "X-Forwarded-Host": "evil.example"}
    async with browser.stomp(token, **forged) as client:
        session = client.connected.headers["session"]

        def look() -> str:
            own = replace(browser, cookies={})
            assert own.log_in("/admin/login/", "olga", "olga of the tests") == 302
            deadline = time.monotonic() + TIMEOUT
            while True:
                status, page, _ = own.request("GET", f"/admin/realtime/sessionrecord/?q={session}")
                if ADDRESS in page:
                    return page
                assert status == 200 and time.monotonic() < deadline, page
                time.sleep(0.5)

        page = await asyncio.to_thread(look)
    assert "192.0.2.66" not in page


def test_plain_http_leads_to_https_and_pages_do_not_lead_in_circles(browser: Browser) -> None:
    client = http.client.HTTPConnection("localhost", browser.plain, timeout=TIMEOUT)
    with closing(client):
        client.request("GET", "/login/?next=/admin/")
        answer = client.getresponse()
        assert answer.status == 308
        assert re.match(
            r"https://localhost(:\d+)?/login/\?next=/admin/", answer.headers["Location"]
        )
    status, _, headers = browser.request("GET", "/login/")
    assert status == 200
    assert "max-age" in headers["strict-transport-security"]
    assert all(name in ("csrftoken", "sessionid") for name in browser.cookies)


def test_a_page_can_not_say_that_it_came_by_another_scheme_or_host(browser: Browser) -> None:
    status, page, _ = browser.request(
        "GET", "/login/", X_Forwarded_Proto="http", X_Forwarded_Host="evil.example"
    )
    assert status == 200
    assert "evil.example" not in page


def test_metrics_are_for_those_inside(browser: Browser) -> None:
    assert browser.request("GET", "/metrics")[0] == 404


# Without a proxy


def test_containers_tell_whether_they_are_well(stack: Stack) -> None:
    for service in ("gateway1", "gateway2", "bridge"):
        stack.run(service, *stack.health(service))


def test_who_is_no_proxy_is_not_believed(stack: Stack) -> None:
    client = http.client.HTTPConnection(
        "127.0.0.1", stack.gateways[0], timeout=TIMEOUT, source_address=(ADDRESS, 0)
    )
    headers = {"Host": "localhost", "X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.66"}
    with closing(client):
        client.request("GET", "/login/", headers=headers)
        answer = client.getresponse()
        assert (answer.status, answer.headers["Location"]) == (301, "https://localhost/login/")


async def test_connections_to_the_database_are_kept(
    stack: Stack, postgres: Postgres, token: str
) -> None:
    def post() -> None:
        client = http.client.HTTPConnection("127.0.0.1", stack.gateways[0], timeout=TIMEOUT)
        body = json.dumps({"topic": "/topic/toast", "message": "x"})
        headers = {"Authorization": f"Token {token}", "Content-Type": "application/json"}
        with closing(client):
            client.request("POST", "/api/notification", body, {**headers, "Host": "localhost"})
            assert client.getresponse().status == 202

    async def use() -> set[int]:
        for _ in range(12):
            await asyncio.to_thread(post)
            stomp = f"ws://127.0.0.1:{stack.gateways[0]}/stomp"
            async with StompClient(stomp, connect={"authorization": f"Token {token}"}) as client:
                await client.request("DISCONNECT", {})
        return await asyncio.to_thread(postgres.connections)

    before = await use()
    after = await use()
    assert before <= after
    # Those of both gateways: threads that live on, and no more.
    assert 4 <= len(after) <= 40


def test_what_was_acknowledged_outlives_the_containers(tmp_path: Path) -> None:
    """A list and a stream, as with ``docker compose down`` and ``up``; a kill is harder."""
    make_secrets(tmp_path / "secrets")
    stack = Stack(tmp_path, postgres=None)
    with stack.valkey() as process, redis.Redis.from_url(stack.redis_url) as client:
        client.xadd("TEST_EVENT_TO_BACKEND", {"message": "kept"})
        process.popen.kill()
        process.popen.wait()
    with stack.valkey(), redis.Redis.from_url(stack.redis_url) as client:
        [(_, entry)] = client.xrange("TEST_EVENT_TO_BACKEND")
        assert entry == {b"message": b"kept"}
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
