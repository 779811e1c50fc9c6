"""The clients of docs/clients.md, which keep silent, and come back to a gateway that was killed."""

from __future__ import annotations

import asyncio
import json
import re
import time
import urllib.request
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

import pytest

from tests.e2e.clients import recipes
from tests.e2e.clients.recipes import BEAT, HERE, PACKAGE, PAGE, Heard, recipe
from tests.e2e.test_resume_in_chromium import publish
from tests.kit.browser import needs_chromium
from tests.kit.processes import Gateway

#: Generous: it only ends a test that would hang.
TIMEOUT: Final = 60
SILENCE: Final = 3.5 * BEAT

LARGE: Final = "large " * 10_000
AWAY: Final = "published while the gateway was away"

in_chromium: Final = [needs_chromium, pytest.mark.browser]
CLIENTS: Final = [
    pytest.param("@stomp/stompjs", recipes.browser, marks=in_chromium),
    pytest.param("React", recipes.browser, marks=in_chromium),
    pytest.param("rx-stomp", recipes.browser, marks=in_chromium),
    pytest.param("react-stomp-hooks", recipes.browser, marks=in_chromium),
    pytest.param("Spring", recipes.java),
    pytest.param("go-stomp", recipes.go),
    pytest.param("stompman", recipes.python),
    pytest.param("stomp.py", recipes.python),
]

#: Those that get what they missed.
RESUMING: Final = {"@stomp/stompjs", "React"}


async def shows(heard: Heard, text: str) -> None:
    async with asyncio.timeout(TIMEOUT):
        while text not in await heard():
            await asyncio.sleep(0.05)


async def publish_until_heard(gateway: Gateway, topic: str, body: str, heard: Heard) -> None:
    """Publish again and again, since the client may not have subscribed yet."""
    async with asyncio.timeout(TIMEOUT):
        while body not in await heard():
            await publish(gateway, topic, [body])
            await asyncio.sleep(0.2)


async def session_on(gateway: Gateway, topic: str) -> dict[str, Any]:
    """Return the one session that hears a topic."""
    url = f"{gateway.url}/api/v1/sessions?topic={topic}"

    def ask() -> Any:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
            return json.load(answer)["sessions"]

    [session] = await asyncio.to_thread(ask)
    return dict(session)


@pytest.mark.parametrize(("client", "run"), CLIENTS)
async def test_it_beats_in_silence_and_comes_back_to_a_gateway_that_was_killed(
    client: str, run: Any, second_gateway: Gateway, variables: dict[str, str], tmp_path: Path
) -> None:
    topic = f"/topic/clients/{client.strip('@')}"
    folder = tmp_path / "program"
    folder.mkdir()
    with Gateway(tmp_path / "first", **variables) as first:
        async with run(recipe(client, first, topic), folder, first) as heard:
            await publish_until_heard(first, topic, "first", heard)
            before = await session_on(first, topic)
            await publish(first, topic, [LARGE])
            await shows(heard, LARGE.strip())

            await asyncio.sleep(SILENCE)
            after = await session_on(first, topic)
            silent = (
                time.time() - datetime.fromisoformat(after["heard_at"]).astimezone(UTC).timestamp()
            )
            assert after["id"] == before["id"]
            assert silent < SILENCE

            first.popen.kill()
            first.popen.wait()
            await publish(second_gateway, topic, [AWAY])
            with Gateway(tmp_path / "second", port=first.port, **variables) as second:
                await publish_until_heard(second, topic, "again", heard)
                assert (AWAY in await heard()) is (client in RESUMING)


def test_the_page_names_the_versions_that_are_tried() -> None:
    packages = json.loads((PACKAGE / "package.json").read_text())["devDependencies"]
    pom = ElementTree.parse(HERE / "java" / "pom.xml")
    [go] = re.findall(r"go-stomp/stomp/v3 v(\S+)", (HERE / "go" / "go.mod").read_text())
    tried = {
        "@stomp/stompjs": packages["@stomp/stompjs"],
        "React": packages["react"],
        "@stomp/rx-stomp": packages["@stomp/rx-stomp"],
        "react-stomp-hooks": packages["react-stomp-hooks"],
        "Spring's": pom.findtext(".//{*}spring.version"),
        "go-stomp": go,
        "stompman": version("stompman"),
        "stomp.py": version("stomp.py"),
    }
    told = re.findall(r"^\| \[`?([^\s`\]]+)[^|]*\| ([\d.]+) \|", PAGE.read_text(), re.MULTILINE)
    assert dict(told) == tried
