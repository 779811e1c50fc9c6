"""The pages in a real browser, which holds them to their Content-Security-Policy."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Page, expect

from tests.kit.browser import needs_chromium, open_page
from tests.kit.processes import Gateway

pytestmark = needs_chromium

#: Tells the test of each violation; it is there before the page itself.
LISTEN = """
document.addEventListener("securitypolicyviolation", (event) => {
  console.error(`violated: ${event.effectiveDirective} by ${event.blockedURI}`);
});
"""


@asynccontextmanager
async def strict_page(url: str, *, locale: str = "en-US") -> AsyncIterator[Page]:
    """Open a page that fails the test at any violation of its policy."""
    told: list[str] = []
    async with open_page("about:blank", locale=locale) as page:
        page.on("console", lambda message: told.append(message.text))
        await page.add_init_script(LISTEN)
        response = await page.goto(url)
        assert response is not None
        assert "default-src 'none'" in response.headers["content-security-policy"]
        yield page
    assert not [text for text in told if "violated:" in text or "Security Policy" in text]


async def log_in(page: Page, name: str) -> None:
    await page.fill("[name=username]", name)
    await page.fill("[name=password]", f"secret of {name}")
    await page.press("[name=password]", "Enter")


async def test_a_violation_would_be_noticed(gateway: Gateway) -> None:
    with pytest.raises(AssertionError, match="violated: script-src-elem by inline"):
        async with strict_page(f"{gateway.url}/login/") as page:
            await page.evaluate("""() => {
                const script = document.createElement("script");
                script.textContent = "document.title = 'run'";
                document.head.append(script);
            }""")
            await expect(page).not_to_have_title("run")


async def test_the_console_keeps_to_its_policy(gateway: Gateway) -> None:
    async with strict_page(gateway.url) as page:
        await expect(page.locator(".open")).to_contain_text("DEBUG is on: everybody may")
        await expect(page.locator("#state")).to_contain_text("Connected")
        await page.click("#notify-form .primary")
        await expect(page.locator("#notify-result")).to_contain_text("202")
        await expect(page.locator("#messages")).to_contain_text("testing API endpoint")


async def test_somebody_logs_in_and_out_at_the_console(gateway: Gateway, accounts: None) -> None:
    async with strict_page(gateway.url) as page:
        await page.click(".account >> text=Log in")
        await page.fill("[name=username]", "dave")
        await page.fill("[name=password]", "wrong")
        await page.click("main button")
        await expect(page.get_by_role("alert")).to_contain_text("Wrong login or password")
        await log_in(page, "dave")
        await expect(page.locator(".account")).to_contain_text("Logged in as dave")
        await expect(page.locator("#state")).to_have_text("Connected as dave")
        await page.click("#notify-form .primary")  # with the cookie, so with a token against CSRF
        await expect(page.locator("#notify-result")).to_contain_text("202")
        await page.click("text=Log out")
        await expect(page.locator(".account")).to_contain_text("Log in")
        await expect(page.locator("#state")).to_have_text("Connected")


async def test_the_browsable_api_works_under_its_policy(gateway: Gateway, accounts: None) -> None:
    async with strict_page(f"{gateway.url}/api/notification") as page:
        await page.click(".navbar >> text=Log in")
        await log_in(page, "dave")
        await expect(page.locator(".navbar")).to_contain_text("dave")
        assert page.url == f"{gateway.url}/api/notification"

        await page.click("text=HTML form")
        await page.fill("[name=topic]", "/topic/pages")
        await page.fill("[name=message]", "by the form")
        await page.click("#post-object-form button")
        await expect(page.locator(".response-info")).to_contain_text("HTTP 202")

        await page.wait_for_load_state("load")  # a script makes it a tab
        await page.click("text=Raw data")
        await page.fill("#id__content", '{"topic": "/topic/pages", "message": "raw"}')
        await page.click("#post-generic-content-form button")  # a script sends it
        await expect(page.locator(".request-info")).to_contain_text("POST")
        await expect(page.locator(".response-info")).to_contain_text("HTTP 202")
        await page.click("text=OPTIONS")
        await expect(page.locator(".request-info")).to_contain_text("OPTIONS")
        await page.click(".format-selection .dropdown-toggle")
        await expect(page.locator(".format-selection .dropdown-menu")).to_be_visible()

        await page.goto(f"{gateway.url}/api/notification")
        await page.click("text=Log out")
        await expect(page.locator(".navbar")).to_contain_text("Log in")
        assert page.url == f"{gateway.url}/api/notification"


async def test_the_admin_works_under_its_policy(gateway: Gateway, accounts: None) -> None:
    async with strict_page(f"{gateway.url}/admin/") as page:
        await log_in(page, "carol")
        await expect(page.locator("#user-tools")).to_contain_text("carol")
        for address in (
            "realtime/sessionrecord/",
            "notifications/deadletter/",
            "auth/user/",
            "auth/user/add/",
            "authtoken/tokenproxy/add/",
        ):
            await page.goto(f"{gateway.url}/admin/{address}")
            await expect(page.locator("#content")).to_be_visible()
        await page.goto(f"{gateway.url}/admin/auth/group/add/")  # a field with scripts of its own
        await page.dblclick("#id_permissions_from option >> nth=0")
        await expect(page.locator("#id_permissions_to option")).to_have_count(1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1440])
async def test_the_login_page_fits(gateway: Gateway, width: int, scheme: str) -> None:
    async with strict_page(f"{gateway.url}/login/") as page:
        await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        await page.set_viewport_size({"width": width, "height": 700})
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        await expect(page.locator("main button")).to_be_in_viewport()
