"""An operator in a real browser finds the session that is slow among many, and puts it out."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import BrowserContext, CDPSession, Page, expect

from tests.e2e.test_admin_overview import admin_page
from tests.kit.browser import needs_chromium
from tests.kit.clients import StompClient
from tests.kit.processes import Gateway

pytestmark = needs_chromium

KIB = 1024
TOPIC = "/topic/toast"
SLOW = "/admin/realtime/sessionrecord/?slow=1"


@pytest.fixture
def patient_gateway(variables: dict[str, str], tmp_path: Path) -> Iterator[Gateway]:
    """A gateway that waits longer for slow clients than an operator takes."""
    with Gateway(tmp_path / "log", **variables, STOMP_SEND_SECONDS="120") as gateway:
        yield gateway


async def open_slow_page(context: BrowserContext, url: str) -> tuple[Page, CDPSession]:
    """Open a console whose scripts stand still, so that it does not read; and what goes on."""
    page = await context.new_page()
    await page.goto(url)
    await expect(page.locator("#state")).to_have_attribute("data-state", "connected")
    debugger = await context.new_cdp_session(page)
    await debugger.send("Debugger.enable")
    await debugger.send("Debugger.pause")
    return page, debugger


async def publish_until_slow(gateway: Gateway, page: Page) -> None:
    """Publish until the list of those who read too slowly has one."""
    async with asyncio.timeout(180), StompClient(gateway.stomp) as publisher:
        while not await page.locator("#result_list tbody tr").count():
            for _ in range(4):
                await publisher.request("SEND", {"destination": TOPIC}, b"x" * 32 * KIB)
            await page.goto(gateway.url + SLOW)


@pytest.mark.daphne
async def test_an_operator_finds_the_slow_one_and_disconnects_it_and_its_page_says_why(
    patient_gateway: Gateway, operators: None
) -> None:
    gateway = patient_gateway
    async with contextlib.AsyncExitStack() as stack:
        page = await stack.enter_async_context(
            admin_page(gateway, "olga", SLOW.removeprefix("/admin/"))
        )
        for number in range(200):
            client = await stack.enter_async_context(StompClient(gateway.stomp))
            await client.subscribe(f"/topic/admin/{number}")
        slow, debugger = await open_slow_page(page.context, gateway.url)
        await publish_until_slow(gateway, page)

        row = page.locator("#result_list tbody tr")
        await expect(row).to_have_count(1)
        await expect(row).to_contain_text("slow")
        await row.locator("a").first.click()
        await expect(page.locator("#content-main")).to_contain_text(TOPIC)
        await page.click("text=Disconnect")
        await page.fill("#id_reason", "your page hangs: reload it")
        await page.check("text=it is asked to stay away")
        await page.click("input[type=submit]")
        await expect(page.locator(".messagelist")).to_have_text("Disconnected: 1 session.")

        await debugger.send("Debugger.disable")
        await expect(slow.get_by_role("alert")).to_contain_text("your page hangs: reload it")
        await page.goto(f"{gateway.url}/admin/admin/logentry/")
        await expect(page.locator("#result_list")).to_contain_text("your page hangs: reload it")
