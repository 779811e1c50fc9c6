from __future__ import annotations

from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError

from realtime.apps import (
    MAX_FRAME_BYTES,
    check_django,
    check_limits,
    check_routing,
    check_rules,
)
from realtime.layer.publishing import MAX_JOINED_BYTES
from realtime.routes import allow, anyone, staff
from realtime.routes.table import EVERYTHING, Table, routing_table


def test_the_settings_pass_every_check() -> None:
    call_command("check")


def test_a_routing_table_that_can_not_be_loaded_is_an_error(settings: Any) -> None:
    routing_table.cache_clear()
    settings.STOMP_ROUTING = "no.such.module"
    with pytest.raises(SystemCheckError, match="realtime.E001"):
        call_command("check")
    settings.STOMP_ROUTING = "gateway.routing"
    assert check_routing(None) == []


def test_a_rule_that_is_never_reached_is_a_warning_and_a_denial_is_none(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(*rules: Any) -> list[str]:
        monkeypatch.setattr("realtime.routes.table.routing_table", lambda: Table(rules))
        return [f"{each.id}: {each.msg}" for each in check_rules(None)]

    denial, all_topics = allow("/topic/secret/**"), allow("/topic/**", subscribe=anyone)
    assert said(denial, all_topics) == []
    assert said(all_topics, denial) == [
        "realtime.W001: allow('/topic/secret/**') is never reached: allow('/topic/**') before it"
        " decides of all that it covers"
    ]
    assert len(said(allow("/**", subscribe=staff), all_topics)) == 1
    assert len(said(EVERYTHING, all_topics)) == 1
    settings.DEBUG = True  # where the gateway's own table begins with it
    assert said(EVERYTHING, all_topics) == []
    assert len(said(EVERYTHING, all_topics, denial)) == 1


def test_frames_that_the_server_can_not_carry_are_an_error(settings: Any) -> None:
    settings.STOMP_SEND_BUFFER_BYTES = 2**22
    settings.STOMP_MAX_FRAME_BYTES = MAX_FRAME_BYTES
    assert check_limits(None) == []
    settings.STOMP_MAX_FRAME_BYTES = MAX_FRAME_BYTES + 1
    assert [error.id for error in check_limits(None)] == ["realtime.E002"]


def test_a_send_buffer_holds_two_of_the_largest_messages(settings: Any) -> None:
    settings.STOMP_SEND_BUFFER_BYTES = 2 * settings.STOMP_MAX_BODY_BYTES
    assert check_limits(None) == []
    settings.STOMP_SEND_BUFFER_BYTES -= 1
    assert [error.id for error in check_limits(None)] == ["realtime.E003"]


def test_a_send_buffer_holds_two_of_the_largest_bursts(settings: Any) -> None:
    settings.STOMP_MAX_FRAME_BYTES = settings.STOMP_MAX_BODY_BYTES = 4096
    settings.STOMP_SEND_BUFFER_BYTES = 2 * MAX_JOINED_BYTES
    assert check_limits(None) == []
    settings.STOMP_SEND_BUFFER_BYTES -= 1
    assert [error.id for error in check_limits(None)] == ["realtime.E003"]


def test_heart_beats_are_not_faster_than_the_clock(settings: Any) -> None:
    for milliseconds, ids in ((0, []), (1000, []), (999, ["realtime.E004"])):
        settings.STOMP_HEARTBEAT_MS = milliseconds
        assert [error.id for error in check_limits(None)] == ids


def test_handlers_need_a_thread(settings: Any) -> None:
    for threads, ids in ((1, []), (0, ["realtime.E005"])):
        settings.STOMP_HANDLER_THREADS = threads
        assert [error.id for error in check_limits(None)] == ids


def test_an_outbox_is_of_a_database_and_is_relayed(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.STOMP_OUTBOX = ["default"]
    assert check_django(None) == []
    settings.STOMP_OUTBOX = ["default", "attic"]
    assert [error.id for error in check_django(None)] == ["realtime.E013"]
    settings.STOMP_OUTBOX = ["default"]
    monkeypatch.setattr("realtime.apps.apps.is_installed", lambda app: app != "notifications")
    assert [error.id for error in check_django(None)] == ["realtime.W002"]


def test_the_fallback_of_notify_can_be_imported(settings: Any) -> None:
    settings.STOMP_NOTIFY_FALLBACK = "django.core.mail.send_mail"
    assert check_django(None) == []
    settings.STOMP_NOTIFY_FALLBACK = "shop.mails.by_pigeon"
    assert [error.id for error in check_django(None)] == ["realtime.E014"]
