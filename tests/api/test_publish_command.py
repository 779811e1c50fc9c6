"""``manage.py publish``."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from realtime.layer.pages import read_page
from realtime.messages.message import Message


def published(*arguments: str, topic: str) -> Message:
    """Run the command and return what came of it."""
    output = io.StringIO()
    call_command("publish", topic, *arguments, stdout=output)
    message = read_page(topic).messages[-1]
    assert output.getvalue() == f"{message.id}\n"
    return message


def standard_input(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))


def test_a_message_is_published_and_its_id_printed() -> None:
    message = published("saved €", topic="/topic/command")
    assert message.body.decode() == "saved €"
    assert message.headers["content-type"] == "text/plain;charset=UTF-8"


def test_headers_may_be_given() -> None:
    message = published(
        json.dumps({"EUR": 1.08}), "--header", "content-type=application/json",
        "--header", "formula=a=b", topic="/topic/command",
    )  # fmt: skip
    assert json.loads(message.body) == {"EUR": 1.08}
    assert message.headers == {"content-type": "application/json", "formula": "a=b"}


@pytest.mark.parametrize(
    ("content", "content_type"),
    [(b"text\n", "text/plain;charset=UTF-8"), (b"\xff\x00", "application/octet-stream")],
)
def test_the_message_may_come_from_standard_input(
    content: bytes, content_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    standard_input(monkeypatch, content)
    message = published("-", topic="/topic/command")
    assert (message.body, message.headers["content-type"]) == (content, content_type)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["/app/greet", "x"], "nobody hears '/app/greet'"),
        (["/nowhere", "x"], "unknown destination '/nowhere'"),
        (["/topic/a", "x" * 70_000], "a body of 70000 bytes is over the limit"),
        (["/topic/a", "x", "--header", "nothing"], "'nothing' is not NAME=VALUE"),
        (["/topic/a", "x", "--header", "=nothing"], "'=nothing' is not NAME=VALUE"),
    ],
)
def test_what_is_refused_is_said(arguments: list[str], error: str) -> None:
    with pytest.raises(CommandError, match=error):
        call_command("publish", *arguments)


def test_redis_away_is_said(redis_away: Any) -> None:
    with pytest.raises(CommandError, match="Redis did not take the message") as refused:
        call_command("publish", "/topic/a", "x")
    assert refused.value.returncode == 1
