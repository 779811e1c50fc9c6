"""The API in a real browser: its page, and its browsable views, under the strict policy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.api.test_schema import OPERATIONS
from tests.e2e.test_pages import strict_page
from tests.kit.browser import needs_chromium, open_page
from tests.kit.processes import Gateway

AXE = (Path(__file__).parent / "vendor" / "axe-core" / "axe.min.js").read_text()

pytestmark = needs_chromium


@pytest.mark.parametrize("width", [360, 1440])
async def test_the_page_of_the_api_publishes_under_its_policy(gateway: Gateway, width: int) -> None:
    async with strict_page(f"{gateway.url}/api/docs/") as page:
        await page.set_viewport_size({"width": width, "height": 900})
        await expect(page.locator(".opblock")).to_have_count(len(OPERATIONS))
        operation = page.locator("#operations-publish-publish")
        await operation.locator(".opblock-summary-control").click()
        await operation.locator(".try-out__btn").click()
        await operation.locator(".execute").click()
        await expect(operation.locator(".live-responses-table")).to_contain_text("202")
        await expect(operation.locator(".live-responses-table")).to_contain_text("/topic/toast")
        assert await page.evaluate("document.documentElement.scrollWidth") <= width


async def test_axe_finds_nothing_serious_on_the_page_of_the_api(gateway: Gateway) -> None:
    async with open_page(f"{gateway.url}/api/docs/", inject=True) as page:
        await expect(page.locator(".opblock")).to_have_count(len(OPERATIONS))
        await page.add_script_tag(content=AXE)
        found = (await page.evaluate("axe.run()"))["violations"]
    serious = [each for each in found if each["impact"] in ("serious", "critical")]
    assert not serious, json.dumps(serious, indent=1)[:4000]


async def test_the_browsable_view_publishes_what_it_suggests(gateway: Gateway) -> None:
    async with strict_page(f"{gateway.url}/api/v1/publish") as page:
        await expect(page.locator(".breadcrumb")).to_have_text("Publish")
        await page.click("#post-generic-content-form button, form .form-actions button")
        await expect(page.locator(".response-info")).to_contain_text("HTTP 202")


async def test_the_browsable_history_shows_it(gateway: Gateway) -> None:
    async with strict_page(f"{gateway.url}/api/v1/history?topic=/topic/toast") as page:
        await expect(page.locator(".response-info")).to_contain_text('"position"')
