"""The form of the log: one line for each event, as text or as JSON, whatever is in it."""

from __future__ import annotations

import json
import logging
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from django.db import DataError, IntegrityError, InterfaceError, OperationalError, ProgrammingError
from django.test import AsyncClient

from gateway.logs import LINE, JsonFormatter, TextFormatter, formatter_named
from gateway.refusals import RefusedRequests
from realtime.access import audit
from realtime.access.limits import Outage, Refusals, is_outage
from realtime.sessions.failures import as_stomp_error

logger = logging.getLogger("tests.logs")
MIGRATE = "{}: it lacks a table or a column; run manage.py migrate"
Log = Callable[..., logging.LogRecord]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Log:
    """Log as :mod:`logging` does, and return the record."""

    def log(*arguments: Any, **options: Any) -> logging.LogRecord:
        logger.warning(*arguments, **options)
        return caplog.records[-1]

    return log


@pytest.fixture
def refusals(monkeypatch: pytest.MonkeyPatch) -> Refusals:
    """The refusals of this test only."""
    own = Refusals()
    for place in ("gateway.refusals", "realtime.sessions.failures", "realtime.access.origins"):
        monkeypatch.setattr(f"{place}.refusals", own)
    return own


@pytest.fixture
def console(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """What the gateway's handler writes."""
    written: list[str] = []

    class Console(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            written.append(self.format(record))

    handler = Console()
    handler.addFilter(RefusedRequests())
    handler.setFormatter(TextFormatter("%(levelname)s %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    yield written
    logging.getLogger().removeHandler(handler)


def text(record: logging.LogRecord) -> str:
    return TextFormatter("%(levelname)s: %(message)s").format(record)


def fields(record: logging.LogRecord) -> dict[str, Any]:
    line = JsonFormatter(LINE).format(record)
    assert "\n" not in line
    content: dict[str, Any] = json.loads(line)
    return content


def test_fields_follow_the_text(log: Log) -> None:
    record = log("closed", extra={"user": "alice", "bytes": 8, "note": 'a "b"', "none": ""})
    assert text(record) == 'WARNING: closed user=alice bytes=8 note="a \\"b\\"" none=""'


def test_fields_that_the_text_names_are_not_said_twice(log: Log) -> None:
    record = log("worker %(worker)d serves", {"worker": 1})
    assert text(record) == "WARNING: worker 1 serves"


def test_json_has_them_all(log: Log) -> None:
    record = log("worker %(worker)d serves", {"worker": 1}, extra={"pid": 4711, "ready": True})
    content = fields(record)
    time = datetime.fromisoformat(content.pop("time"))
    assert abs((datetime.now(UTC) - time).total_seconds()) < 60
    assert content == {
        "level": "WARNING",
        "logger": "tests.logs",
        "message": "worker 1 serves",
        "worker": 1,
        "pid": 4711,
        "ready": True,
    }


def test_no_field_takes_the_place_of_what_every_line_has(log: Log) -> None:
    content = fields(log("hello", extra={"level": "DEBUG", "logger": "x", "time": 0}))
    assert (content["level"], content["logger"]) == ("WARNING", "tests.logs")
    assert content["time"] != 0


def test_what_is_no_plain_value_is_no_field(log: Log) -> None:
    record = log("hello", extra={"request": object(), "scope": {"query_string": "ticket=secret"}})
    assert text(record) == "WARNING: hello"
    assert set(fields(record)) == {"time", "level", "logger", "message"}


@pytest.mark.parametrize("forged", ["a\nERROR: b", "a\r\nb", "a\x1b[2Kb", "a\x85b", "a\x00b"])
def test_nothing_makes_a_line_of_its_own(log: Log, forged: str) -> None:
    record = log("not found: %s", forged, extra={"user": forged})
    line = text(record)
    assert line.isprintable()
    assert "user=" in line
    assert fields(record)["user"] == forged


@pytest.mark.parametrize("value", ["a b", "a=b", 'a"b', ""])
def test_a_value_that_could_be_two_is_quoted(log: Log, value: str) -> None:
    assert text(log("hello", extra={"user": value})).endswith(f"user={json.dumps(value)}")


def test_a_traceback_follows_the_text_and_is_a_field_of_json(log: Log) -> None:
    try:
        raise ValueError("wrong")
    except ValueError:
        record = log("failed", exc_info=True, extra={"user": "alice"})
    first, *rest = text(record).splitlines()
    assert first == "WARNING: failed user=alice"
    assert rest[-1] == "ValueError: wrong"
    assert fields(record)["exception"].splitlines() == rest


def test_the_audit_log_has_fields_and_the_same_text(caplog: pytest.LogCaptureFixture) -> None:
    audit.record("refused", user="100% alice", destination='/topic/"a"')
    [record] = caplog.records
    line = 'refused user="100% alice" destination="/topic/\\"a\\""'
    assert text(record) == f"WARNING: {line}"
    content = fields(record)
    assert content["message"] == line
    assert (content["event"], content["user"]) == ("refused", "100% alice")
    assert content["destination"] == '/topic/"a"'


# Which form


@pytest.mark.parametrize(("name", "kind"), [("text", TextFormatter), ("json", JsonFormatter)])
def test_a_form_has_a_name(name: str, kind: type[logging.Formatter]) -> None:
    assert formatter_named(name) is kind


SAY_FORM_OF_ALL = (
    "from gateway.processes.procfile import environment as e; print(e()['LOG_FORMAT'])"
)
SAY_FORM = "import gateway.settings as s; print(s.LOGGING['formatters']['line']['class'])"


def run(code: str, stderr: int = subprocess.PIPE, **variables: str) -> str:
    found = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )
    return found.stdout + (found.stderr or "")


def test_without_a_name_a_terminal_has_text_and_all_else_json() -> None:
    assert run(SAY_FORM) == "gateway.logs.JsonFormatter\n"
    ours, its = pty.openpty()
    try:
        assert run(SAY_FORM, its) == "gateway.logs.TextFormatter\n"
        assert run(SAY_FORM, its, LOG_FORMAT="json") == "gateway.logs.JsonFormatter\n"
    finally:
        os.close(ours)
        os.close(its)


def test_the_processes_of_the_procfile_log_what_is_right_for_its_output() -> None:
    assert run(SAY_FORM_OF_ALL) == "json\n"
    assert run(SAY_FORM_OF_ALL, LOG_FORMAT="text") == "text\n"
    ours, its = pty.openpty()
    try:
        subprocess.run([sys.executable, "-c", SAY_FORM_OF_ALL], stdout=its, check=True)
        assert os.read(ours, 100).split() == [b"text"]
    finally:
        os.close(ours)
        os.close(its)


@pytest.mark.parametrize("program", ["gateway.settings", "gateway.workers"])
def test_another_name_is_an_error_that_says_so(program: str) -> None:
    code = f"import runpy; runpy.run_module({program!r}, run_name='__main__')"
    said = run(code, LOG_FORMAT="xml", WORKERS="1", PORT="18080")
    assert "LOG_FORMAT is 'xml': it has to be text or json" in said


# What Django refuses


BAD_REQUESTS: dict[str, tuple[str, dict[str, Any]]] = {
    "foreign-host": ("GET", {"path": "/", "headers": {"host": "evil.example"}}),
    "bad-request": (
        "POST",
        {
            "path": "/login/",
            "data": "&".join(f"a{n}=1" for n in range(1001)),
            "content_type": "application/x-www-form-urlencoded",
        },
    ),
    "not-found": ("GET", {"path": "/nothing%0Ahere"}),
    "forbidden": ("POST", {"path": "/logout/"}),
}


@pytest.mark.django_db
@pytest.mark.parametrize("reason", ["foreign-host", "bad-request", "not-found", "forbidden"])
async def test_a_refused_request_is_one_line_a_minute_without_a_traceback(
    refusals: Refusals, console: list[str], reason: str
) -> None:
    method, options = BAD_REQUESTS[reason]
    client = AsyncClient(enforce_csrf_checks=reason == "forbidden")
    for _ in range(3):
        response = await client.generic(method, **options)
        assert 400 <= response.status_code < 500
    [line] = console
    assert line.startswith(f"WARNING realtime.access.limits: refused 127.0.0.1 ({reason}): ")
    assert line.isprintable()
    assert len(line) < 350
    assert refusals.counts == {reason: 3}


def test_a_fault_of_ours_keeps_its_traceback(refusals: Refusals, console: list[str]) -> None:
    extra = {"status_code": 500, "request": None}
    error = ZeroDivisionError("division")
    logging.getLogger("django.request").error("failed", extra=extra, exc_info=error)
    [line] = console
    assert line.startswith("ERROR django.request: failed")
    assert "ZeroDivisionError: division" in line
    assert not refusals.counts


@pytest.mark.parametrize(
    ("status", "passes"),
    [(399, True), (400, False), (499, False), (500, True), (502, True), (503, False)],
)
def test_statuses_that_refuse(
    refusals: Refusals, console: list[str], status: int, passes: bool
) -> None:
    logging.getLogger("django.request").error("said", extra={"status_code": status})
    [line] = console
    assert line.startswith("ERROR django.request" if passes else "WARNING realtime.access.limits")


def test_lines_of_others_pass(refusals: Refusals, console: list[str]) -> None:
    logging.getLogger("orders").error("lost", extra={"status_code": 400})
    assert console == ["ERROR orders: lost status_code=400"]


def test_an_outage_is_one_line_a_minute_however_many_ask(
    refusals: Refusals, console: list[str]
) -> None:
    for _ in range(100):
        as_stomp_error(redis.ConnectionError("refused"))
    assert console == [
        "WARNING realtime.access.limits: refused somebody (redis-away): "
        "Redis did not do what was asked for: refused"
    ]
    assert refusals.counts == {"redis-away": 100}


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OperationalError("could not connect: password of alice"), "OperationalError"),
        (OperationalError("no such table: auth_user"), MIGRATE.format("OperationalError")),
        (
            ProgrammingError('relation "auth_user" does not exist'),
            MIGRATE.format("ProgrammingError"),
        ),
    ],
)
def test_a_database_without_its_tables_is_told_from_one_that_is_away(
    caplog: pytest.LogCaptureFixture, error: Exception, reason: str
) -> None:
    outage = Outage()
    outage.begin(error)
    outage.begin(error)
    assert outage.reason == reason
    outage.end()
    assert caplog.messages == [f"the database is away: {reason}", "the database is back"]


def test_all_of_a_network_of_ipv6_are_one_that_is_refused(
    caplog: pytest.LogCaptureFixture,
) -> None:
    refusals = Refusals()
    for address in ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"):
        refusals.note("busy", (address,), "too much")
    assert [record.args["address"] for record in caplog.records] == [  # type: ignore[call-overload, index]
        "2001:db8::1",
        "2001:db8:0:1::1",
    ]


@pytest.mark.parametrize(
    ("error", "away"),
    [
        (OperationalError("the server closed the connection"), True),
        (InterfaceError("connection already closed"), True),
        (ProgrammingError("no such table"), True),
        (IntegrityError("NOT NULL constraint failed"), False),
        (DataError("value too long"), False),
        (ValueError("no error of a database"), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_the_database_does_not_take_is_no_outage(error: Exception, away: bool) -> None:
    assert is_outage(error) is away
