"""An operator without a mouse: by Tab, Enter and letters, and it can be seen where the focus is."""

from __future__ import annotations

import asyncio
import re

import pytest
from playwright.async_api import Locator, Page, expect

from tests.e2e.test_pages import strict_page
from tests.kit.browser import needs_chromium
from tests.kit.clients import StompClient
from tests.kit.processes import Gateway

pytestmark = needs_chromium

#: How often somebody presses Tab, at most, to get anywhere on a page.
MOST_TABS = 80

IS_FOCUSED = "element => element === document.activeElement"
IS_SEEN = """() => {
    const element = document.activeElement, style = getComputedStyle(element);
    const looks = ["outline", "boxShadow", "borderColor", "backgroundColor", "textDecoration"];
    const look = () => looks.map((name) => style[name]).join();
    const focused = look();
    element.blur();
    const blurred = look();
    element.focus({ focusVisible: true });
    return focused !== blurred;
}"""


async def tab_to(page: Page, wanted: Locator) -> None:
    """Press Tab until an element has the focus, and look whether that is seen."""
    await expect(wanted).to_be_visible()
    for _ in range(MOST_TABS):
        if await wanted.evaluate(IS_FOCUSED):
            assert await page.evaluate(IS_SEEN), f"{wanted}: its focus is not seen"
            return
        await page.keyboard.press("Tab")
    pytest.fail(f"{wanted} is not reached by Tab")


async def enter(page: Page, wanted: Locator) -> None:
    await tab_to(page, wanted)
    await page.keyboard.press("Enter")


async def test_an_operator_disconnects_a_session_by_keyboard_only(
    gateway: Gateway, operators: None
) -> None:
    async with StompClient(gateway.stomp) as client:
        session = client.connected.headers["session"]
        await client.subscribe("/topic/keyboard")
        async with strict_page(f"{gateway.url}/admin/") as page:
            await page.keyboard.type("olga")  # the focus is there at once
            await page.keyboard.press("Tab")
            await page.keyboard.type("olga")
            await page.keyboard.press("Enter")
            await expect(page.locator("#news")).to_contain_text("Live, ")

            await enter(page, page.locator(".places a", has_text="Sessions"))
            await tab_to(page, page.locator("#searchbar"))
            await page.keyboard.type(session)
            await page.keyboard.press("Enter")
            await expect(page).to_have_url(re.compile("[?]q="))
            row = page.locator("#result_list tbody a >> nth=0")
            async with asyncio.timeout(20):  # it is written down some time after it came
                while not await row.count():
                    await page.reload()
            await enter(page, row)
            await expect(page.locator("#subscriptions")).to_contain_text("/topic/keyboard")
            await enter(page, page.locator(".acts a", has_text="Disconnect"))
            await tab_to(page, page.locator("#id_reason"))
            await page.keyboard.type("no mouse was needed")
            await enter(page, page.locator("#content input[type=submit]"))
            await expect(page.locator(".messagelist")).to_have_text("Disconnected: 1 session.")
        error = await client.frame("ERROR")
        assert "no mouse was needed" in error.headers["message"]
