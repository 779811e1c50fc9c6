"""Large bodies are read one at a time, so that the event loop has its turn in between."""

from __future__ import annotations

import contextlib
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from rest_framework.parsers import JSONParser

from notifications.api.parsers import LARGE_BYTES, GatewayJSONParser


@pytest.mark.parametrize(("length", "together"), [(LARGE_BYTES, 1), (LARGE_BYTES - 1, 2)])
def test_only_large_bodies_wait_for_each_other(
    length: int, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = most = 0
    met = threading.Barrier(2)

    def parse(*_: Any) -> str:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        with contextlib.suppress(threading.BrokenBarrierError):
            met.wait(0.2)
        inside -= 1
        return "read"

    monkeypatch.setattr(JSONParser, "parse", parse)
    context = {"request": SimpleNamespace(META={"CONTENT_LENGTH": str(length)})}
    read: list[Any] = []
    threads = [
        threading.Thread(target=lambda: read.append(GatewayJSONParser().parse(None, None, context)))
        for _ in range(2)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert (most, read) == (together, ["read", "read"])
