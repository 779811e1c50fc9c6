"""A real Chromium for the tests; where there is none, they are skipped, but not in CI."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Page, async_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None and not os.environ.get("REQUIRE_CHROMIUM"), reason="no Chromium is installed"
)


@asynccontextmanager
async def open_page(
    url: str, *, inject: bool = False, locale: str = "en-US"
) -> AsyncIterator[Page]:
    """
    Open a page that fails the test at any error in its console, in a browser of some language.

    To inject scripts, or to wait for an expression, the page's policy has to be put aside.
    """
    assert CHROMIUM, "install chromium"
    errors: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        context = await browser.new_context(bypass_csp=inject, locale=locale)
        page = await context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        await page.goto(url)
        yield page
        await browser.close()
    assert not errors, errors
