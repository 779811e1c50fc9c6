"""The commands by which the Procfile and the documents start processes."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

from gateway.processes.child import SERVER


def test_the_modules_that_the_commands_name_exist(project: Path) -> None:
    files = ["Procfile", "Makefile", "Dockerfile", "README.md", "docs/operations.md"]
    text = "".join((project / name).read_text() for name in files)
    # In a Dockerfile the words stand in quotation marks.
    named = set(re.findall(r"""python["', ]+-m["', ]+(gateway[\w.]*)""", text))
    assert {"gateway", "gateway.workers"} <= named
    assert [name for name in named if find_spec(name) is None] == []


def test_the_program_that_the_supervisor_runs_exists() -> None:
    assert find_spec(SERVER[-1]) is not None
