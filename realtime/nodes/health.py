"""Health: does this process live, and is it ready for clients? Orchestrators ask."""

from __future__ import annotations

import json
from typing import Any, Final

from channels.layers import get_channel_layer

from realtime.access.limits import outage
from realtime.layer.layer import TopicLayer
from realtime.sessions.node import this_node

from .readiness import NotReady, readiness_of

LIVE: Final = "/healthz"
READY: Final = "/readyz"


async def health(scope: Any, receive: Any, send: Any) -> None:
    """
    Answer ``GET /healthz`` and ``GET /readyz``, for any host name: 200, or 503 with why not.

    A process that lives need not be restarted when Redis is away: its clients stay, and it goes
    on when Redis is back. It is not ready meanwhile for new ones. While a part of Redis is away, as
    a node of a cluster, or the database, it is ready, and says what does not work: all nodes share
    the database, and whoever needs none, as with a JWT, is served. It is not asked for this: each
    node writes to it every few seconds anyway. It is not ready any more once it is told to end.
    """
    status, content = await _readiness() if scope["path"] == READY else (200, {"status": "ok"})
    body = json.dumps(content).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body if scope["method"] != "HEAD" else b""})


async def _readiness() -> tuple[int, dict[str, str]]:
    if this_node().draining:
        return 503, {"status": "draining", "detail": "this process is told to end"}
    layer = get_channel_layer()
    if not isinstance(layer, TopicLayer):
        return 200, {"status": "ok"}  # it can't be told whether it works
    try:
        problems = await readiness_of(layer).check()
    except NotReady as error:
        return 503, {"status": "unavailable", "detail": str(error)}
    if outage.reason:
        problems = [*problems, f"the database is away: {outage.reason}"]
    if problems:
        return 200, {"status": "degraded", "detail": "; ".join(problems)}
    return 200, {"status": "ok"}
