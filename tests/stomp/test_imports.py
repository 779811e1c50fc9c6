"""The protocol needs nothing but Python."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

#: What would be I/O, or a decision how to do it.
IO = {"asyncio", "http", "os", "select", "selectors", "socket", "ssl", "subprocess", "threading"}


def imports_of(source: str) -> Iterator[str]:
    """Return the top-level modules that a module imports; of its own package, a dot."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level or (node.module or "").partition(".")[0]


def test_the_protocol_imports_the_standard_library_only(project: Path) -> None:
    files = list((project / "realtime" / "stomp").rglob("*.py"))
    imported = {name for file in files for name in imports_of(file.read_text())}
    assert {"re", "."} <= imported
    assert imported - {"."} <= sys.stdlib_module_names - IO


def test_no_import_is_overlooked() -> None:
    source = (
        "import a.b, c\ndef f():\n    from d.e import g\n    from ..h import i\n    from . import j"
    )
    assert set(imports_of(source)) == {"a", "c", "d", "..", "."}
