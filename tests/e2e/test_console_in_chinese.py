"""The console and the login page in Chinese, in a real browser that prefers it."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis
from playwright.async_api import Page, expect

from tests.e2e.test_console import AXE, add_header, console, notify, send, subscribe
from tests.e2e.test_pages import log_in, strict_page
from tests.kit.browser import needs_chromium, open_page
from tests.kit.processes import Gateway, Process

pytestmark = needs_chromium

#: What no translation changes: names, what STOMP calls things, and examples of values.
NAMES = {
    "ACK", "NACK", "English", "curl", "redis-cli", "Python", "JavaScript", "Bearer TOKEN", "true",
    "client-individual", "/temp-queue/answers", "application/json",
}  # fmt: skip

#: Returns the texts and attributes of a page but for code, data, names of headers, times, and
#: what the ERROR frame says.
TEXTS = """() => {
  const silent =
    "code, pre, b, textarea, option, script, time, .latency, .chip, .body, .about, #error-message";
  const ownText = (element) => [...element.childNodes]
    .filter((node) => node.nodeType === Node.TEXT_NODE).map((node) => node.data).join("").trim();
  const found = [...document.body.querySelectorAll("*")]
    .filter((element) => !element.closest(silent)).map(ownText);
  for (const name of ["title", "aria-label", "placeholder", "alt"])
    for (const each of document.querySelectorAll(`:not(code)[${name}]`))
      found.push(each.getAttribute(name));
  for (const each of document.querySelectorAll("[data-snippet]")) found.push(each.textContent);
  return found;
}"""


@asynccontextmanager
async def chinese_console(gateway: Gateway) -> AsyncIterator[Page]:
    async with console(gateway, locale="zh-CN") as page:
        await expect(page.locator("html")).to_have_attribute("lang", "zh-hans")
        yield page


async def untranslated(page: Page) -> set[str]:
    """Return what the page says without a Chinese character."""
    texts: list[str] = await page.evaluate(TEXTS)
    latin = {each for each in texts if re.search("[A-Za-z]{2}", each)}
    headers = {each for each in latin if re.match("[a-z-]+: ", each)}
    return {each for each in latin - headers if not re.search("[\u4e00-\u9fff]", each)} - NAMES


async def test_the_checks_turn_green_in_chinese(
    gateway: Gateway, bridge: Process, redis_client: redis.Redis
) -> None:
    async with chinese_console(gateway) as page:
        await expect(page).to_have_title("STOMP 网关：控制台")
        await expect(page.locator("#state")).to_have_text("已连接")
        await page.get_by_role("button", name="发送一条通知").click()
        await expect(page.locator("#check-notification-result")).to_contain_text("POST 后")
        await page.get_by_role("button", name="复制命令").click()
        await expect(page.locator("#check-redis-result")).to_contain_text("此项变为绿色")
        redis_client.publish("GREETING_CHANNEL_INBOUND", '"Test Message from Backend PubSub"')
        await expect(page.locator("#check-redis-result")).to_contain_text("消息已到达")
        await page.get_by_role("button", name="发送 hello").click()
        await expect(page.locator("#check-send-result")).to_contain_text("Redis 已接收")
        await expect(page.locator("#checks [data-state=passed]")).to_have_count(3)
        await expect(page.locator("#checks-count")).to_have_text("三项全部通过")
        assert await untranslated(page) == set()


async def test_whatever_happens_is_told_in_chinese(gateway: Gateway) -> None:
    async with chinese_console(gateway) as page:
        await page.click("#login-details > summary")
        for kind in ("connect", "subscribe"):
            await add_header(page, kind, "其他…", f"x-{kind}")
        for name in ("authorization", "ticket", "x-soft-errors"):
            await page.locator("#connect-headers").get_by_role("button", name=name).click()
        await page.locator("#subscribe-headers .remove").click()
        await add_header(page, "subscribe", "ack", "client-individual")
        await subscribe(page, "/topic/acknowledged")
        await subscribe_again(page, "/topic/acknowledged")
        await notify(page, "/topic/acknowledged", "x" * 700)
        await notify(page, "/topic/acknowledged", '{"some": ["json"]}', is_json=True)
        await page.get_by_role("button", name="NACK", exact=True).first.click()
        await page.get_by_role("button", name="展开全部").click()
        await page.get_by_role("button", name="原文").click()
        await page.fill("#messages-filter", "json")
        await expect(page.locator("#messages-count")).to_have_text("列出 1 条，共 2 条")
        await page.click("#messages-pause")
        await page.click("#frames-pause")
        assert await untranslated(page) == set()

        await page.click("#send-tab")
        for name in ("reply-to", "content-type", "idempotency-key"):
            await add_header(page, "send", name, "")
        await send(page, "/queue/unknown", "hello")
        await expect(page.locator("#error-title")).to_contain_text("ERROR 帧：")
        await expect(page.locator("#send-result")).to_contain_text("被拒绝：")
        assert await untranslated(page) == set()
        await expect(page.locator("#error")).to_have_attribute("data-over", "true")
        await page.click("#error-dismiss")

        toast = page.locator('#subscriptions [data-destination="/topic/toast"]')
        await expect(toast).to_contain_text("已订阅")
        await page.click("#connect")
        await expect(page.locator("#state")).to_have_text("未连接")
        await expect(page.locator("#session")).to_contain_text("WebSocket 已关闭：关闭码")
        await page.click("#check-send-run")
        await expect(page.locator("#check-send-result")).to_have_text("未连接，请先连接。")
        assert await untranslated(page) == set()
        await page.click("#connect")
        await expect(toast).to_contain_text("已恢复")
        await page.click("[data-snippet=curl]")
        await page.fill("#send-destination", "/app/greet")
        await expect(page.locator("#snippet")).to_contain_text("# 请使用 Python 或 JavaScript。")


async def subscribe_again(page: Page, destination: str) -> None:
    await page.fill("#subscribe-destination", destination)
    await page.press("#subscribe-destination", "Enter")
    await expect(page.locator("#subscribe-result")).to_contain_text("已经订阅了")


async def test_a_gateway_that_is_away_is_told_of_in_chinese(gateway: Gateway) -> None:
    detail = "Redis is away: ConnectionError"
    async with chinese_console(gateway) as page:
        await page.route(
            "**/readyz", lambda route: route.fulfill(status=503, json={"detail": detail})
        )
        await page.route("**/api/notification", lambda route: route.abort())
        await page.click("#check-notification-run")
        await page.click("#notify-form .primary")
        for result in ("#check-notification-result", "#notify-result"):
            await expect(page.locator(result)).to_have_text("没有响应：网关不可用。")
        reason = page.locator("#state-reason")
        await expect(reason).to_have_text(f"未就绪：{detail}", timeout=15_000)


async def test_the_language_is_switched_and_remembered(
    gateway: Gateway, people: dict[str, dict[str, str]]
) -> None:
    async with console(gateway) as page:
        await expect(page.locator("html")).to_have_attribute("lang", "en")
        await page.fill("#notify-message", "kept")
        await page.get_by_role("button", name="简体中文").click()
        await expect(page.locator("#state")).to_have_text("已连接")
        await expect(page.locator("#notify-message")).to_have_value("kept")
        await page.reload()
        await expect(page.locator("#state")).to_have_text("已连接")

        await page.click(".account >> text=登录")
        await expect(page.locator("h1")).to_have_text("登录")
        await page.get_by_role("button", name="English").click()
        await expect(page).to_have_url(f"{gateway.url}/login/?next=/")
        await expect(page.locator("h1")).to_have_text("Log in")
        await page.get_by_role("button", name="简体中文").click()
        await log_in(page, "alice")
        await expect(page.locator("#state")).to_have_text("已连接（alice）")
        await expect(page.locator(".account")).to_contain_text("已登录：alice")
        await page.get_by_role("button", name="English").click()
        await expect(page.locator("#state")).to_have_text("Connected as alice")


async def test_english_pages_ask_for_no_catalogue(gateway: Gateway) -> None:
    for locale, asked in (("en-US", 0), ("zh-CN", 1)):
        async with open_page("about:blank", locale=locale) as page:
            urls: list[str] = []
            page.on("request", lambda request, urls=urls: urls.append(request.url))
            await page.goto(gateway.url)
            await expect(page.locator("#state")).to_have_attribute("data-state", "connected")
        assert len([url for url in urls if "/language/" in url]) == asked


@pytest.mark.parametrize("width", [360, 768, 1440])
@pytest.mark.parametrize("path", ["/", "/login/"])
async def test_it_fits_in_chinese(gateway: Gateway, path: str, width: int) -> None:
    async with strict_page(f"{gateway.url}{path}", locale="zh-CN") as page:
        await page.set_viewport_size({"width": width, "height": 800})
        if path == "/":
            await expect(page.locator("#subscriptions [data-state=subscribed]")).to_have_count(2)
        assert await page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/", "/login/"])
async def test_axe_finds_nothing_serious_in_chinese(
    gateway: Gateway, path: str, scheme: Any
) -> None:
    async with open_page("about:blank", inject=True, locale="zh-CN") as page:
        await page.emulate_media(color_scheme=scheme)
        await page.goto(f"{gateway.url}{path}")
        await page.add_script_tag(content=AXE)
        found = await page.evaluate("axe.run()")
    serious = [each for each in found["violations"] if each["impact"] in ("serious", "critical")]
    assert not serious, json.dumps(serious, indent=1)[:4000]
