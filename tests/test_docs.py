"""What the documents say is true."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from django.conf import settings

from notifications.bridges import checks
from notifications.bridges.formats import unwrap
from realtime.routes.table import Table


def test_readme_lists_every_variable(project: Path) -> None:
    source = (project / "gateway" / "settings.py").read_text()
    used = set(re.findall(r'(?:env_\w+|environ\.get)\(\s*"([A-Z_]+)"', source))
    readme = (project / "README.md").read_text()
    assert {"REDIS_URL", "STOMP_ROUTING", "LOG_LEVEL"} <= used
    assert {name for name in used if f"`{name}`" not in readme} == set()


def test_protocol_lists_every_error_code_and_no_other(project: Path) -> None:
    code = "\n".join(file.read_text() for file in (project / "realtime").rglob("*.py"))
    used = set(re.findall(r'code(?:: str)? ?= ?"([a-z-]+)"', code))
    used |= {f"{action}-denied" for action in ("subscribe", "send", "history")}
    used.discard("gone")  # nobody is there to be told
    document = (project / "docs" / "protocol.md").read_text()
    table = document.partition("## Errors")[2].partition("\nCodes from")[0]
    documented = set(re.findall(r"`([a-z]+(?:-[a-z]+)*)`", table)) - {"message", "code"}
    documented -= {"receipt-id", "retry-after"}
    assert documented == used


def test_the_tests_leave_the_ports_that_the_documents_name_alone(project: Path) -> None:
    documents = [project / "README.md", *(project / "docs").glob("*.md")]
    named = set(re.findall(r"\b\d{4,5}\b", "".join(file.read_text() for file in documents)))
    assert {"16379", "18080"} <= named
    assert str(urlsplit(settings.REDIS_URL).port) not in named


def test_links_in_the_documents_lead_somewhere(project: Path) -> None:
    top = [project / "README.md", project / "SECURITY.md"]
    for document in [*top, *(project / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_the_tests_that_the_documents_name_exist(project: Path) -> None:
    named = {
        name
        for document in (project / "docs").glob("*.md")
        for name in re.findall(r"`(test_\w+)`", document.read_text())
    }
    sources = "".join(file.read_text() for file in (project / "tests").rglob("test_*.py"))
    assert len(named) > 10
    assert {name for name in named if f"def {name}(" not in sources} == set()


def test_the_redis_line_of_readme_and_its_python_twin_publish_the_same(project: Path) -> None:
    readme = (project / "README.md").read_text()
    [shell] = re.findall(r'redis-cli PUBLISH \w+ "(.*)"\n', readme)
    [python] = re.findall(r"publish\(\"\w+\", \"(.*)\"\)'", readme)
    assert shell == python
    assert unwrap(shell.replace('\\"', '"').encode()) == "Test Message from Backend PubSub"


def test_the_routes_of_the_documents_pass_the_checks(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = (project / "docs" / "bridges.md").read_text()
    [table] = re.findall(r"```python\n(.*?)```", document, re.DOTALL)
    names: dict[str, Any] = {}
    exec(table, names)
    assert len(names["routes"]) > 5
    monkeypatch.setattr(checks, "routing_table", lambda: Table(names["routes"]))
    assert checks.check_bridges(None) == []


def test_the_redis_lines_of_the_documents_are_commands(
    project: Path, redis_client: redis.Redis
) -> None:
    text = "".join(file.read_text() for file in (project / "docs").glob("*.md"))
    lines = re.findall(r"^redis-cli (.*)$", text, re.MULTILINE)
    assert len(lines) >= 3
    for line in lines:
        redis_client.execute_command(*shlex.split(line))
    redis_client.delete("TEST_EVENT_TO_WEBSOCKET_SERVER")  # nobody is to carry it


def test_every_test_that_the_protocol_names_exists(project: Path) -> None:
    document = (project / "docs" / "protocol.md").read_text()
    tests = "\n".join(file.read_text() for file in (project / "tests").rglob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", document))
    assert len(named) > 60
    assert {name for name in named if f"def {name}(" not in tests} == set()
    table = document.partition("demand by demand")[2]
    rows = re.findall(r"^\| \d+ \|.*$", table, re.MULTILINE)
    assert len(rows) > 60
    assert all("`test_" in row for row in rows)
