"""Screenshots of every page, narrow and wide, light and dark; ``make screenshots`` keeps them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.async_api import Page, expect

from tests.e2e.test_admin_overview import TOPIC, pages
from tests.e2e.test_pages import log_in, strict_page
from tests.kit.browser import needs_chromium
from tests.kit.clients import StompClient
from tests.kit.processes import Gateway

pytestmark = needs_chromium

#: Pixels.
WIDTHS: Final = (1440, 768, 360)
#: Whether a page fits is not for its colours to say.
SCHEMES: Final = ("light", "dark") if os.environ.get("SCREENSHOTS") else ("light",)
HEIGHTS: Final = {1440: 900, 768: 1024, 360: 740}


def folder_of(tmp_path: Path) -> Path:
    """Return where screenshots go: what SCREENSHOTS names, or where pytest forgets them."""
    folder = Path(os.environ.get("SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


async def look(page: Page, name: str, width: int, scheme: str, folder: Path) -> None:
    """Keep how a page looks; nothing of it is beside the screen."""
    await page.screenshot(path=folder / f"{name}-{width}-{scheme}.png", full_page=True)
    assert await page.evaluate("document.documentElement.scrollWidth") <= width, name


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
async def test_every_page_fits_and_is_kept(
    gateway: Gateway, accounts: None, tmp_path: Path, width: int, scheme: Any
) -> None:
    folder = folder_of(tmp_path)
    async with strict_page(f"{gateway.url}/login/") as page, StompClient(gateway.stomp) as client:
        await page.set_viewport_size({"width": width, "height": HEIGHTS[width]})
        await page.emulate_media(color_scheme=scheme)
        await look(page, "login", width, scheme, folder)
        await log_in(page, "carol")
        await expect(page.locator("#state")).to_have_attribute("data-state", "connected")
        await page.click("#notify-form .primary")
        await expect(page.locator("#notify-result")).to_contain_text("202")
        await look(page, "console", width, scheme, folder)

        for number in range(4):
            topic = f"/topic/screenshots/{'a-long-name-' * 10}{number}" if number else TOPIC
            await client.subscribe(topic, id=str(number))
        session = client.connected.headers["session"]
        for name, address in (await pages(page, gateway, session)).items():
            await page.goto(f"{gateway.url}/admin/{address}")
            await expect(page.locator("#content")).to_be_visible()
            if name == "overview":
                await expect(page.locator("#news")).to_contain_text("Live, ")
            await look(page, name, width, scheme, folder)
        for name, address in {"api": "notification", "api-docs": "docs/"}.items():
            await page.goto(f"{gateway.url}/api/{address}")
            await page.wait_for_load_state("networkidle")
            await look(page, name, width, scheme, folder)
