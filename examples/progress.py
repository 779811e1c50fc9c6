"""Progress: a SEND starts a long job; the reply says on which topic the job tells how far it is."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

from rest_framework import serializers

from realtime import apublish
from realtime.routes import allow, authenticated, on_send, owner

jobs: set[asyncio.Task[None]] = set()  # asyncio itself would forget them


class JobSerializer(serializers.Serializer[Any]):
    seconds = serializers.IntegerField(min_value=1, max_value=60)


async def start(message: Any, session: Any, data: dict[str, int]) -> dict[str, str]:
    topic = f"/topic/examples/jobs/{session.user_name}/{uuid4()}"
    job = asyncio.create_task(work(topic, data["seconds"]))
    jobs.add(job)
    job.add_done_callback(jobs.discard)
    return {"topic": topic}


async def work(topic: str, seconds: int) -> None:
    """Work here; the worker of a task queue calls ``publish(topic, ...)`` in the same way."""
    for percent in range(101):
        await apublish(topic, {"percent": percent})
        await asyncio.sleep(seconds / 100)


routes = [
    on_send("/app/examples/jobs", start, body=JobSerializer),
    allow("/app/examples/jobs", send=authenticated),
    allow("/topic/examples/jobs/{username}/*", subscribe=owner),
]
