"""The package for npm: what it has, its types, and its hook in a page."""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
from playwright.async_api import Page

import realtime
from tests.e2e.clients.recipes import HERE, PACKAGE, bundle, command, pack, project, tool
from tests.e2e.test_resume_in_chromium import publish
from tests.kit.browser import needs_chromium, open_page
from tests.kit.processes import PROJECT, Gateway

#: Generous: it only ends a test that would hang.
TIMEOUT: Final = 30

OPTIONS: Final = {"strict": True, "noEmit": True, "target": "es2022", "jsx": "react-jsx"}


def test_it_has_the_script_that_the_gateway_serves_its_types_and_its_hook(tmp_path: Path) -> None:
    tool("npm")
    before = sorted(PACKAGE.iterdir())
    with tarfile.open(pack(tmp_path)) as archive:
        packed = {member.name.removeprefix("package/"): member for member in archive}
        script = archive.extractfile(packed["resume.js"])
        assert script is not None
        served = PROJECT / "realtime" / "static" / "realtime" / "resume.js"
        assert script.read() == served.read_bytes()
    code = {"resume.js", "resume.d.ts", "react.js", "react.d.ts"}
    assert set(packed) == {*code, "package.json", "README.md", "LICENSE"}
    assert sorted(PACKAGE.iterdir()) == before  # nothing is left that could differ some day


def test_it_has_the_version_of_the_gateway() -> None:
    described = json.loads((PACKAGE / "package.json").read_text())
    locked = json.loads((PACKAGE / "package-lock.json").read_text())
    # Both have their own way to write what comes before a release.
    version = re.sub(r"(\d)(a|b|rc)(\d+)$", r"\1-\2.\3", realtime.__version__)
    assert described["version"] == locked["version"] == version


def test_its_lock_file_has_a_hash_for_each_package_and_no_place() -> None:
    locked = json.loads((PACKAGE / "package-lock.json").read_text())["packages"]
    fetched = [package for name, package in locked.items() if name]
    assert fetched
    assert all("integrity" in package and "resolved" not in package for package in fetched)


@pytest.mark.parametrize("resolution", ["nodenext", "bundler"])
def test_typescript_takes_what_may_be_written_and_nothing_else(
    tmp_path: Path, resolution: str
) -> None:
    project(tmp_path)
    module = "nodenext" if resolution == "nodenext" else "esnext"
    options = {**OPTIONS, "module": module, "moduleResolution": resolution}
    settings = {"compilerOptions": options, "files": ["uses.tsx"]}
    (tmp_path / "tsconfig.json").write_text(json.dumps(settings))
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "uses.tsx").write_text((HERE / "uses.tsx").read_text())
    command(str(PACKAGE / "node_modules" / ".bin" / "tsc"), folder=tmp_path)


@asynccontextmanager
async def shown(gateway: Gateway, folder: Path) -> AsyncIterator[Page]:
    """Open a page in which `show(properties)` renders a component that uses the hook."""
    async with open_page(f"{gateway.url}/admin/login/", inject=True) as page:
        await page.set_content('<div id="root"></div>')
        await page.add_script_tag(path=bundle((HERE / "hook.jsx").read_text(), folder))
        await page.wait_for_function("client.connected", timeout=TIMEOUT * 1000)
        yield page


async def show(page: Page, state: str | None, **properties: object) -> None:
    """Render a component, or none, and wait until it says its state."""
    await page.evaluate("show", properties or None)
    wanted = json.dumps(state or "")
    text = "document.getElementById('root').innerText"
    await page.wait_for_function(f"{text} === {wanted}", timeout=TIMEOUT * 1000)


async def heard(page: Page, *messages: str) -> None:
    """Wait until this is all that was heard."""
    await page.wait_for_function("(count) => heard.length >= count", arg=len(messages))
    assert await page.evaluate("heard") == list(messages)


async def sent(page: Page, command: str) -> int:
    """Return how many frames of a kind the page has sent."""
    return int(
        await page.evaluate(f"frames.filter((line) => line.startsWith('>>> {command}\\n')).length")
    )


@needs_chromium
@pytest.mark.browser
async def test_the_hook_hears_what_comes_while_its_component_is_there(
    gateway: Gateway, tmp_path: Path
) -> None:
    first, second = "/topic/hook/first", "/topic/hook/second"
    async with shown(gateway, tmp_path) as page:
        await show(page, "live", topic=first, name="a")
        await publish(gateway, first, ["1"])
        await heard(page, "a: 1")
        subscribed = await sent(page, "SUBSCRIBE")

        await show(page, "live", topic=first, name="b")  # another callback, the same subscription
        await publish(gateway, first, ["2"])
        await heard(page, "a: 1", "b: 2")
        assert await sent(page, "SUBSCRIBE") == subscribed

        await show(page, "live", topic=second, name="c")
        await publish(gateway, first, ["not any more"])
        await publish(gateway, second, ["3"])
        await heard(page, "a: 1", "b: 2", "c: 3")

        await show(page, None)
        await page.wait_for_function("frames.at(-1).startsWith('>>> UNSUBSCRIBE')")
        assert await sent(page, "UNSUBSCRIBE") == await sent(page, "SUBSCRIBE")

        await show(page, "starting", topic=None, name="d")
        assert await sent(page, "UNSUBSCRIBE") == await sent(page, "SUBSCRIBE")

        await show(page, "live", topic=first, name="e", headers={"replay": "1"})
        await heard(page, "a: 1", "b: 2", "c: 3", "e: not any more")


@needs_chromium
@pytest.mark.browser
async def test_the_hook_goes_on_after_the_gateway_was_killed(
    second_gateway: Gateway, variables: dict[str, str], tmp_path: Path
) -> None:
    topic = "/topic/hook/killed"
    with Gateway(tmp_path / "first", **variables) as first:
        async with shown(first, tmp_path) as page:
            await show(page, "live", topic=topic, name="a")
            first.popen.kill()
            first.popen.wait()
            await publish(second_gateway, topic, ["missed"])
            with Gateway(tmp_path / "second", port=first.port, **variables):
                await heard(page, "a: missed")


@needs_chromium
@pytest.mark.browser
async def test_the_hook_says_that_a_destination_is_refused(
    variables: dict[str, str], tmp_path: Path
) -> None:
    ruled = {**variables, "STOMP_ROUTING": "tests.ruled_routing"}
    with Gateway(tmp_path / "ruled", **ruled) as gateway:
        async with shown(gateway, tmp_path) as page:
            await show(page, "refused", topic="/topic/secret/a", name="a")
