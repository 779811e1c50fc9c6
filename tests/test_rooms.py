"""The house as a newcomer sees it: a few rooms, and each says what it is for."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from django.conf import settings

#: What is no room: Django's static files, templates and commands, and Python's own.
NO_ROOMS = {"__init__.py", "__pycache__", "static", "templates", "management", "py.typed"}
ROOMS = [
    f"{package}/{folder.name}"
    for package in ("realtime", "notifications")
    for folder in sorted((settings.BASE_DIR / package).iterdir())
    if (folder / "__init__.py").exists() and folder.name not in ("migrations", "management")
]


def entries(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - NO_ROOMS


def test_there_are_few_entries_at_the_first_look(project: Path) -> None:
    # 22 for messages; `nodes`, `counters`, `metrics`, `presence`, `tracing` for who looks at them;
    # `django` for a project around them, `testing` for its tests.
    assert len(entries(project / "realtime")) <= 29


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_has_a_dozen_files_at_most(project: Path, room: str) -> None:
    assert len(entries(project / room)) <= 12


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_says_what_it_is_for_and_has_no_code_at_its_door(project: Path, room: str) -> None:
    tree = ast.parse((project / room / "__init__.py").read_text())
    description = ast.get_docstring(tree)
    assert description is not None
    assert 5 <= description.count("\n") <= 50
    assert {type(node) for node in tree.body[1:]} <= {ast.Import, ast.ImportFrom, ast.Assign}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_has_its_tests(project: Path, room: str) -> None:
    assert list((project / "tests" / Path(room).name).glob("test_*.py")), room


@pytest.mark.parametrize("package", ["realtime", "notifications", "gateway"])
def test_a_module_begins_with_a_noun(project: Path, package: str) -> None:
    clauses = ("What ", "Who ", "When ", "How ", "Where ", "Which ")
    for path in (project / package).rglob("*.py"):
        description = ast.get_docstring(ast.parse(path.read_text())) or ""
        assert not description.startswith(clauses), f"{path}: {description[:60]}"
