"""The console in a real browser: a newcomer sees the three checks happen."""

from __future__ import annotations

import redis
from playwright.async_api import expect

from tests.kit.browser import needs_chromium, open_page
from tests.kit.processes import Gateway, Process

pytestmark = needs_chromium


async def test_the_three_checks_in_the_console(
    gateway: Gateway, bridge: Process, redis_client: redis.Redis
) -> None:
    service = redis_client.pubsub(ignore_subscribe_messages=True)
    service.subscribe("GREETING_CHANNEL_OUTBOUND")
    service.get_message(timeout=5)
    async with open_page(gateway.url) as page:
        await expect(page.locator("#state")).to_contain_text("Connected")
        await expect(page.locator("#subscriptions li")).to_have_count(2)
        await expect(page.locator("#frames")).to_contain_text("RECEIPT")

        await page.click("#notify-form button")
        await expect(page.locator("#notify-result")).to_contain_text("202")
        await expect(page.locator("#messages")).to_contain_text("testing API endpoint")

        redis_client.publish("GREETING_CHANNEL_INBOUND", '"Test Message from Backend PubSub"')
        await expect(page.locator("#messages")).to_contain_text("Test Message from Backend PubSub")

        await page.click("#send-form button")
        await expect(page.locator("#send-result")).to_contain_text("RECEIPT")
        message = service.get_message(timeout=5) or service.get_message(timeout=5)
        assert message["data"] == b'"hello"'
    service.close()


async def test_an_error_is_shown_with_its_reason(gateway: Gateway) -> None:
    async with open_page(gateway.url) as page:
        await expect(page.locator("#state")).to_contain_text("Connected")
        await page.fill("#send-destination", "/queue/unknown")
        await page.click("#send-form button")
        await expect(page.locator("#error")).to_contain_text("/queue/unknown")


async def test_it_loads_nothing_from_elsewhere(gateway: Gateway) -> None:
    async with open_page("about:blank") as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        await page.goto(gateway.url)
        await expect(page.locator("#state")).to_contain_text("Connected")
    assert len(asked) >= 4
    assert all(url.startswith((gateway.url, "data:")) for url in asked), asked


async def test_passcodes_are_not_shown(gateway: Gateway) -> None:
    async with open_page(gateway.url) as page:
        await page.click("#login-details summary")
        await page.fill("#login", "alice")
        await page.fill("#passcode", "wonderland-42")
        await page.click("#login-form button")
        await expect(page.locator("#error")).to_contain_text("wrong login or passcode")
        assert "wonderland-42" not in await page.locator("body").inner_text()


async def test_it_fits_a_narrow_screen(gateway: Gateway) -> None:
    async with open_page("about:blank") as page:
        await page.set_viewport_size({"width": 360, "height": 800})
        await page.goto(gateway.url)
        width = await page.evaluate("document.documentElement.scrollWidth")
    assert width <= 360
