"""The same application on uvicorn passes the same tests; its own shutdown excepted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.processes import SERVER

SAME = (
    "acknowledgements",
    "destinations_in_use",
    "history",
    "idempotency",
    "limits",
    "nodes",
    "patterns",
    "presence",
    "redis_comes_and_goes",
    "server_sent_events",
    "slow_clients",
    "stomp_over_websocket",
    "the_three_checks",
    "who_may_hear_events",
)


@pytest.mark.skipif(SERVER == "uvicorn", reason="this is what starts the others")
def test_what_holds_on_daphne_holds_on_uvicorn(project: Path) -> None:
    files = [f"tests/e2e/test_{name}.py" for name in SAME]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-m", "not daphne", *files]
    command += ["-n", "2", "--dist", "loadfile"]
    run = subprocess.run(
        command,
        cwd=project,
        env={**os.environ, "GATEWAY_SERVER": "uvicorn"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert " passed" in run.stdout
