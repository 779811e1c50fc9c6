"""Health: does this process live, and is it ready for clients? Orchestrators ask."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

from channels.layers import get_channel_layer

from realtime.access.limits import outage
from realtime.layer.plain import face_of
from realtime.redis import REDIS_ERRORS

LIVE: Final = "/healthz"
READY: Final = "/readyz"

#: Seconds that Redis has to answer.
READY_SECONDS: Final = 2.0


async def health(scope: Any, receive: Any, send: Any) -> None:
    """
    Answer ``GET /healthz`` and ``GET /readyz``, for any host name: 200, or 503 with why not.

    A process that lives need not be restarted when Redis or the database is away: its clients stay,
    and it goes on when that is back. It is not ready meanwhile for new ones. The database is not
    asked for this: each node writes to it every few seconds anyway.
    """
    error = await _why_not_ready() if scope["path"] == READY else None
    content = {"status": "ok"} if error is None else {"status": "unavailable", "detail": error}
    body = json.dumps(content).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ]
    status = 200 if error is None else 503
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body if scope["method"] != "HEAD" else b""})


async def _why_not_ready() -> str | None:
    try:
        async with asyncio.timeout(READY_SECONDS):
            await face_of(get_channel_layer()).check()
    except REDIS_ERRORS as error:
        return f"Redis is away: {type(error).__name__}"
    return f"the database is away: {outage.reason}" if outage.reason else None
