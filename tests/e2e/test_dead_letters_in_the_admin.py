"""An operator in a real browser deals with what a real bridge put aside."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
import redis
from playwright.async_api import Locator, Page, expect

from tests.kit.browser import needs_chromium, open_page
from tests.kit.processes import TIMEOUT, Gateway, Process, manage

pytestmark = needs_chromium

STREAM = "TEST_EVENT_TO_WEBSOCKET_SERVER"
LIST = f"/admin/notifications/deadletter/?route=stream:{STREAM}"


@pytest.fixture(scope="session")
def operator(variables: dict[str, str]) -> str:
    """The name, and the password, of somebody who may do everything."""
    code = (
        "from django.contrib.auth.models import User\n"
        "User.objects.create_superuser('operator', password='operator')\n"
    )
    manage("shell", "-v", "0", "-c", code, **variables)
    return "operator"


async def log_in(page: Page, name: str) -> None:
    await page.fill("#id_username", name)
    await page.fill("#id_password", name)
    await page.click("input[type=submit]")


async def row_with(page: Page, reason: str) -> Locator:
    """Reload the list until a dead letter is there."""
    row = page.locator("#result_list tbody tr", has_text=reason)
    async with asyncio.timeout(TIMEOUT):
        while await row.count() == 0:
            await page.reload()
    return row


async def choose(page: Page, row: Locator, action: str) -> None:
    await row.locator(".action-select").check()
    await page.select_option("select[name=action]", action)
    await page.click("button[name=index]")


async def test_a_dead_letter_is_looked_at_published_again_and_dropped(
    gateway: Gateway, bridge: Process, operator: str, redis_client: redis.Redis
) -> None:
    bridge.wait_for_output(STREAM)
    nowhere = f"/nowhere/{uuid4().hex}"
    redis_client.xadd(STREAM, {"topic": nowhere, "message": '{"<b>": 1}'})
    async with open_page(gateway.url + LIST) as page:
        await log_in(page, operator)
        row = await row_with(page, nowhere)
        await row.locator("a").click()
        await expect(page.locator("pre.json")).to_have_text('{\n  "<b>": 1\n}')
        await page.click("text=Publish again")
        await expect(page.locator(".messagelist")).to_have_text("Published again: 1 dead letter.")

        await page.goto(gateway.url + LIST)  # it is refused again
        row = await row_with(page, nowhere)
        await row.locator(".action-select").check()
        await expect(page.locator(".action-counter")).to_contain_text("1 of ")
        await choose(page, row, "drop")
        await page.click("text=Yes, drop it")
        await expect(page.locator(".messagelist")).to_have_text("Dropped: 1 dead letter.")
        await expect(page.locator("#changelist")).not_to_contain_text(nowhere)
    entries = [fields[b"topic"] for _, fields in redis_client.xrange(STREAM)]
    assert entries.count(nowhere.encode()) == 2
