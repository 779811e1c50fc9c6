"""Commands that show live state on a terminal, and what they say when they can not."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from realtime.nodes.found import Found
from tests.nodes.test_overview import report

COMMANDS = ("sessions", "topics", "top")


def row(**different: Any) -> dict[str, Any]:
    return {
        "id": "f00d", "user": "[bold]alice", "address": "192.0.2.1", "version": "1.2",
        "connected_at": 0.0, "heard_at": 0.0, "topics": list("abc"), "subscriptions": 5,
        "messages_in": 1, "messages_out": 2, "in_per_second": 0.1, "out_per_second": 0.2,
        "waiting_bytes": 3 * 1024, "slow": True,
        "node": "a", **different,
    }  # fmt: skip


def printed(command: str, *arguments: str, **options: Any) -> str:
    out = StringIO()
    call_command(command, *arguments, stdout=out, **options)
    return out.getvalue()


@pytest.mark.parametrize("command", COMMANDS)
def test_without_redis_a_command_says_so_in_one_line(command: str, redis_away: None) -> None:
    with pytest.raises(CommandError, match="Redis is away"):
        call_command(command, *(["--once"] if command == "top" else []))


@pytest.mark.parametrize("command", ["sessions", "topics"])
def test_without_nodes_a_command_says_so(command: str, settings: Any) -> None:
    layers = {"default": dict(settings.CHANNEL_LAYERS["default"])}
    layers["default"]["CONFIG"] = {**layers["default"]["CONFIG"], "prefix": "nobody-here"}
    settings.CHANNEL_LAYERS = layers
    with pytest.raises(CommandError, match="no node answered"):
        call_command(command)


def test_what_others_chose_moves_no_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    evil = row(user="\x9b2Jalice", topics=["/topic/\x1b[31m", "/topic/\u202ex"])
    found = Found(1, [evil], [], 1)
    monkeypatch.setattr("realtime.management.commands.sessions.find_sessions", lambda **_: found)
    shown = printed("sessions")
    assert "\ufffd2Jalice" in shown
    assert not {"\x1b", "\x9b", "\u202e"} & {*shown}


def test_sessions_are_shown_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def find(**wanted: Any) -> Found:
        asked.update(wanted)
        return Found(7, [row()], [], 1)

    monkeypatch.setattr("realtime.management.commands.sessions.find_sessions", find)
    shown = printed("sessions", "x", "--slow", "--user", "", "--order", "waiting", "--limit", "3")
    assert asked == {
        "text": "x", "user": "", "topic": None, "address": None, "slow": True,
        "order": "waiting", "limit": 3,
    }  # fmt: skip
    assert "1 of 7 sessions" in shown and "a, b, c +2" in shown and "3.0 KB" in shown
    assert "[bold]alice" in shown  # what a client calls itself is no markup
    assert json.loads(printed("sessions", "--json")) == {"count": 7, "sessions": [row()]}


def test_who_did_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "realtime.management.commands.topics.find_topics",
        lambda **_: Found(0, [], ["node-b"], 1),
    )
    err = StringIO()
    printed("topics", stderr=err)
    assert err.getvalue() == "node-b did not answer\n"


def test_top_shows_nodes_topics_problems_and_slow_sessions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = "realtime.management.commands.top"
    content = {"nodes": [report()], "problems": ["a: Redis took 100 ms to answer"]}
    topic = {"topic": "/topic/a", "subscribers": 3, "per_second": 1.5, "position": None}
    monkeypatch.setattr(f"{module}.overview", lambda: content)
    monkeypatch.setattr(f"{module}.find_topics", lambda **_: Found(1, [topic], [], 1))
    monkeypatch.setattr(f"{module}.find_sessions", lambda **_: Found(1, [row()], [], 1))
    shown = printed("top", "--once")
    for text in ("Redis took 100 ms", "/topic/a", "1.5", "f00d", "25 %"):
        assert text in shown
    told = json.loads(printed("top", "--json"))
    assert told["topics"] == [topic] and told["slow_sessions"] == [row()]
