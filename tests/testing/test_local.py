"""Clients in the process of the test: what a project's own tests are made of."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.test import AsyncClient

from realtime import apublish, publish
from realtime.models import NodeRecord
from realtime.sessions.node import this_node
from realtime.testing.client import Refused
from realtime.testing.local import LocalClient, LocalGateway, local_node
from realtime.testing.logins import login_as
from tests.kit.processes import manage


@pytest.mark.usefixtures("layer")
async def test_clients_hear_each_other_and_what_code_publishes(
    stomp_client: Any, assert_delivered: Any
) -> None:
    alice, bob = await stomp_client(), await stomp_client()
    await alice.subscribe("/topic/kit")
    await alice.subscribe("/topic/echo")
    await bob.publish("/topic/kit", {"from": "bob"})
    await bob.publish("/app/echo-to-topic/ham", b"eggs")
    await apublish("/topic/kit", "async code")
    await sync_to_async(publish)("/topic/kit", "code")
    await assert_delivered(alice, "/topic/kit", "async code")
    await assert_delivered(alice, "/topic/kit", "code")
    await assert_delivered(alice, "/topic/kit", {"from": "bob"})  # it has kept its turn
    echo = await assert_delivered(alice, "/topic/echo")
    assert (echo.text, alice.messages) == ("ham:eggs", [])


@pytest.mark.usefixtures("layer")
async def test_tests_on_one_loop_have_each_a_gateway() -> None:
    for _ in range(3):
        async with LocalGateway() as gateway:
            client = await gateway.connect()
            await client.subscribe("/topic/kit")
            await apublish("/topic/kit", "again")
            assert (await client.message()).text == "again"
            node = this_node()
            assert len(node.members) == 1
        assert node.members == []
        assert this_node() is not node
        this_node.forget()


async def test_a_redis_of_others_keeps_what_it_has(
    settings: Any, redis_client: redis.Redis
) -> None:
    config = {"hosts": [settings.REDIS_URL], "prefix": "others"}
    backend = "channels_redis.core.RedisChannelLayer"
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend, "CONFIG": config}}
    redis_client.set("others:a channel", "a message", ex=60)
    async with LocalGateway() as gateway:
        await gateway.connect()
    assert redis_client.get("others:a channel") == b"a message"


async def test_a_client_is_whom_the_test_wants(stomp_client: Any, settings: Any) -> None:
    settings.STOMP_ANONYMOUS = False
    alice = await stomp_client(user=User(username="alice", pk=1))
    assert alice.connected.headers["user-name"] == "alice"
    with pytest.raises(Refused, match="login-required") as refused:
        await stomp_client()
    assert refused.value.code == "login-required"


async def test_a_login_of_a_test_is_good_for_that_test_only(settings: Any) -> None:
    settings.STOMP_AUTHENTICATORS = ["realtime.testing.logins.forced_user"]
    settings.STOMP_ANONYMOUS = False
    login = login_as(User(username="alice", pk=1))
    async with LocalGateway() as gateway:
        await gateway.connect(**login)
    async with LocalGateway() as gateway:
        with pytest.raises(Refused, match="login-required"):
            await gateway.connect(**login)


@pytest.mark.django_db(transaction=True)
async def test_who_is_logged_in_to_the_site_is_so_here(stomp_client: Any, settings: Any) -> None:
    settings.ALLOWED_ORIGINS = ["https://other.example"]
    browser = AsyncClient()
    await browser.aforce_login(await User.objects.acreate_user("alice"))
    cookie = browser.cookies[settings.SESSION_COOKIE_NAME].output(attrs=[], header="").strip()
    alice = await stomp_client(http={"cookie": cookie})
    assert alice.connected.headers["user-name"] == "alice"
    stranger = await stomp_client(http={"cookie": cookie, "origin": "https://other.example"})
    assert "user-name" not in stranger.connected.headers


async def test_what_is_refused_is_an_error_with_its_code(stomp_client: Any) -> None:
    client = await stomp_client()
    with pytest.raises(Refused, match="bad-pattern"):
        await client.subscribe("/topic/**/a")
    assert await client.error() == ("bad-pattern", 1002)


async def test_a_subscription_ends_by_its_destination(
    stomp_client: Any, assert_not_delivered: Any
) -> None:
    client = await stomp_client()
    await client.subscribe("/topic/kit")
    await client.unsubscribe("/topic/kit")
    await apublish("/topic/kit", "too late")
    await assert_not_delivered(client)


async def test_an_expectation_that_fails_shows_what_came(
    stomp_client: Any, assert_delivered: Any, assert_not_delivered: Any
) -> None:
    client = await stomp_client()
    await client.subscribe("/topic/kit")
    await apublish("/topic/kit", "ham")
    with pytest.raises(AssertionError, match="/topic/kit: 'eggs' was not.*\n  /topic/kit: ham"):
        await assert_delivered(client, "/topic/kit", "eggs", seconds=0.1)
    with pytest.raises(AssertionError, match="was delivered:\n  /topic/kit: ham"):
        await assert_not_delivered(client, "/topic/kit")
    await assert_not_delivered(client, "/topic/kit")  # it was taken
    with pytest.raises(AssertionError, match="was not delivered; what was:\n  nothing"):
        await assert_delivered(client, "/topic/kit", seconds=0.1)


async def test_the_frames_that_came_are_told_where_none_is_the_wanted_one(
    stomp_client: Any,
) -> None:
    client = await stomp_client()
    await client.subscribe("/topic/kit")
    await apublish("/topic/kit", "ham")
    with pytest.raises(TimeoutError) as error:
        await client.frame("RECEIPT", 0.2)
    assert "Frame('MESSAGE'" in error.value.__notes__[0]


async def test_an_application_that_fails_says_so_at_once() -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        raise LookupError("no route for it")

    client = LocalClient("/nowhere", application)
    async with asyncio.timeout(2):
        with pytest.raises(LookupError, match="no route for it"):
            await client.connect()


async def test_a_path_where_nothing_is_says_so() -> None:
    client = LocalClient("/nowhere")
    with pytest.raises(AssertionError, match="not opened"):
        await client.connect()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("rows", [False, True])
async def test_sessions_write_rows_only_where_they_are_wanted(rows: bool) -> None:
    async with local_node(rows=rows):
        client = LocalClient()
        await client.connect()
        await asyncio.sleep(0.3)
        assert await NodeRecord.objects.acount() == rows
        await client.socket.disconnect()


async def test_nothing_of_the_kit_is_imported_in_production() -> None:
    code = (
        "import gateway.asgi, gateway.urls, sys;"
        "print([name for name in sys.modules if name.startswith('realtime.testing')])"
    )
    printed = await asyncio.to_thread(manage, "shell", "-v", "0", "-c", code)
    assert printed.strip() == "[]"
