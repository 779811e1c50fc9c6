"""docs/logs.md has every line that the gateway logs, as the code has it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from realtime.sessions.session import Session

LEVELS = {
    "debug": "DEBUG",
    "info": "INFO",
    "warning": "WARNING",
    "error": "ERROR",
    "exception": "ERROR",
    "critical": "CRITICAL",
}
PACKAGES = ("gateway", "notifications", "realtime")


class Line(NamedTuple):
    logger: str
    level: str
    text: str
    fields: str


def lines_of_the_code(project: Path) -> Iterator[Line]:
    for package in PACKAGES:
        for path in (project / package).rglob("*.py"):
            tree = ast.parse(path.read_text())
            calls = list(filter(is_logged, ast.walk(tree)))
            if calls:
                module = ".".join(path.relative_to(project).with_suffix("").parts)
                logger = logger_in(tree, module)
                yield from (as_line(logger, call) for call in calls if isinstance(call, ast.Call))


def is_logged(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in LEVELS
        and ast.unparse(node.func.value) in ("logger", "logging")
    )


def logger_in(tree: ast.Module, module: str) -> str:
    [name] = re.findall(r"^logger.* = logging\.getLogger\((.*)\)$", ast.unparse(tree), re.M)
    return module if name == "__name__" else str(ast.literal_eval(name))


def as_line(logger: str, call: ast.Call) -> Line:
    assert isinstance(call.func, ast.Attribute)
    text, *arguments = call.args
    written = text.value if isinstance(text, ast.Constant) else "%s"
    assert isinstance(written, str)
    fields = re.findall(r"%\((\w+)\)", written)
    extra = [keyword.value for keyword in call.keywords if keyword.arg == "extra"]
    fields += [name for value in extra for name in keys_of(value)]
    if not isinstance(text, ast.Constant):
        fields += [name for value in arguments for name in keys_of(value)]
    return Line(logger, LEVELS[call.func.attr], shown(written), ", ".join(fields))


def keys_of(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Attribute):
        assert node.attr == "log_fields"
        yield from Session().log_fields
    elif isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant):
                yield str(key.value)
            elif isinstance(value, ast.Attribute):
                yield from keys_of(value)


def shown(text: str) -> str:
    """Return a text as the page has it: fields by their names, all else as dots."""
    return re.sub(
        r"%(?:\((\w+)\))?[.\d]*[a-z]", lambda found: f"{{{found[1]}}}" if found[1] else "…", text
    )


def lines_of_the_page(project: Path) -> Iterator[Line]:
    for row in re.findall(r"^\| `[\w.]+` .*$", (project / "docs/logs.md").read_text(), re.M):
        logger, level, text, fields, meaning = (cell.strip() for cell in row.strip("|").split("|"))
        assert meaning, row
        yield Line(logger.strip("`"), level, text.strip("`"), fields.replace("`", ""))


def test_the_page_has_every_line_that_is_logged_and_no_other(project: Path) -> None:
    assert sorted(lines_of_the_page(project)) == sorted(set(lines_of_the_code(project)))


def test_every_way_to_log_is_seen(project: Path) -> None:
    seen = set(lines_of_the_code(project))
    assert {line.level for line in seen} == {"DEBUG", "INFO", "WARNING", "ERROR"}
    assert len(seen) > 50
    for package in PACKAGES:
        for path in (project / package).rglob("*.py"):
            assert not re.search(r"\bgetLogger\(.*\)\.\w", path.read_text()), path
