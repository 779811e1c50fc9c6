"""
Random STOMP through a whole session, with rules: no harm done, and nothing that is not allowed.

A few seconds of it here; ``make fuzz`` does it for as long as one likes.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Iterator
from typing import Any

import pytest

from realtime.hub.subscription import Subscription
from realtime.messages.message import Message
from realtime.sessions.node import this_node
from realtime.stomp import Frame, FrameDecoder
from tests.kit.fuzz_stomp import Case, make_case
from tests.kit.listening import subscription
from tests.kit.local_client import TIMEOUT, LocalClient, until

SECONDS = float(os.environ.get("FUZZ_SECONDS", "4"))

#: Where a client that is not logged in may hear nothing, and send nothing.
DENIED = ("/topic/denied", "/topic/c", "/user/alice/queue/a", "/user/admin/queue/a")

#: What it may hear; its own temporary queues besides.
ALLOWED = ("/topic/a", "/topic/b", "/app/a", "/temp-queue/")


@pytest.fixture(autouse=True)
def rules(routing: None, settings: Any) -> None:
    settings.STOMP_ROUTING = "tests.kit.fuzz_routing"


@pytest.mark.django_db(transaction=True)
async def test_random_frames_do_no_harm_to_a_session(
    node: None, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[Message] = []
    spies = [spy(destination, heard) for destination in DENIED]
    for each in spies:
        await this_node().hub.subscribe(each)
    seed = random.SystemRandom().getrandbits(48)
    ends = time.monotonic() + SECONDS
    executions = 0
    while time.monotonic() < ends or not executions:
        case = make_case(seed + executions)
        try:
            await execute(case)
            assert not heard
            assert not [each for each in caplog.records if each.levelname in ("ERROR", "CRITICAL")]
        except Exception as error:
            raise AssertionError(f"make_case({case.seed}) failed: {case.pieces!r}") from error
        executions += 1
    print(f"{executions} sessions")
    for each in spies:
        this_node().hub.unsubscribe(each)


def spy(destination: str, heard: list[Message]) -> Subscription:
    return subscription(destination, "0", "1.2", lambda frames: heard.extend(frames.messages))


async def execute(case: Case) -> None:
    """Send what a case says, and check what comes."""
    client = LocalClient()
    await client.socket.connect(TIMEOUT)
    for piece in case.pieces:
        await client.socket.send_input({"type": "websocket.receive", "bytes": piece})
    await client.socket.send_input({"type": "websocket.disconnect", "code": 1000})
    async with asyncio.timeout(TIMEOUT):
        await client.socket.wait()
    told = b"".join(sent(client))
    for frame in decoded(told, case):
        if frame.command == "ERROR":
            assert frame.headers["code"] != "internal-error"
        if frame.command == "MESSAGE" and "refused" not in frame.headers:
            assert frame.headers["destination"].startswith(ALLOWED)
            assert frame.headers.get("sender", "") == ""
    await until(lambda: not this_node().members)


def sent(client: LocalClient) -> Iterator[bytes]:
    while not client.socket.output_queue.empty():
        event = client.socket.output_queue.get_nowait()
        if event["type"] == "websocket.send":
            yield event.get("bytes") or event["text"].encode()


def decoded(data: bytes, case: Case) -> Iterator[Frame]:
    """Yield all frames in the escapes of any version, which differ in values only."""
    decoder = FrameDecoder(
        max_frame_bytes=1 << 24, max_head_bytes=1 << 20, max_header_bytes=1 << 20
    )
    decoder.version = "1.0"
    decoder.receive_data(data)
    return iter(decoder.next_frame, None)
