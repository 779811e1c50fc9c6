"""The commands of README.md, run as they stand there, but for the ports."""

from __future__ import annotations

import asyncio
import re
import subprocess
from pathlib import Path

from django.conf import settings

from tests.clients import StompClient
from tests.e2e.processes import PROJECT, Gateway, Process, environment


def commands(project: Path, gateway: Gateway) -> list[str]:
    """Return the commands of the three checks, for this gateway and the tests' own Redis."""
    checks = (project / "README.md").read_text().partition("## Three checks")[2]
    found = re.findall(r"```\n(.*?)\n```", checks.partition("\n## ")[0], re.DOTALL)
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
