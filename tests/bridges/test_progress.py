from __future__ import annotations

import asyncio
import json
import sys

import pytest
import redis

from notifications.bridges import from_stream, progress
from notifications.bridges.runner import run_bridges
from tests.kit.bridging import new_name, published


@pytest.mark.parametrize("terminal", [True, False])
async def test_progress_is_for_people_on_a_terminal_and_json_elsewhere(
    terminal: bool,
    redis_client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    monkeypatch.setattr(progress, "LOOK_SECONDS", 0.2)
    topic = f"/topic/{new_name('progress')}"
    route = from_stream(new_name("progress"), to=topic)
    task = asyncio.create_task(run_bridges([route], progress.print_progress))
    redis_client.xadd(route.source, {"message": "a"})
    await published(topic, 1)
    printed = ""
    async with asyncio.timeout(15):
        while route.id not in printed:
            printed += capsys.readouterr().out
            await asyncio.sleep(0.05)
    await asyncio.sleep(3 * progress.LOOK_SECONDS)  # nothing else is printed meanwhile
    task.cancel()
    await asyncio.wait([task])
    printed += capsys.readouterr().out
    if terminal:
        assert "1 of 1 routes are consumed here" in printed
        assert f"    {route.id}" in printed
    else:
        [line] = map(json.loads, printed.splitlines())  # nothing has changed since
        assert line["routes"] == 1
        assert line["owned"][0]["id"] == route.id
        assert line["owned"][0]["messages"] == 1
