from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError

from gateway.checks import check_hosts
from realtime.apps import (
    _MAY_BE_0,
    check_django,
    check_limits,
    check_redis,
    check_routing,
    check_rules,
    check_values,
)
from realtime.layer.publishing import MAX_JOINED_BYTES
from realtime.routes import allow, anyone, staff
from realtime.routes.table import EVERYTHING, Table, routing_table
from tests.conftest import free_port
from tests.kit.processes import PROJECT, TIMEOUT, environment, manage


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


def said(check: Any) -> list[str]:
    return [f"{each.id}: {each.msg}" for each in check(None)]


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("STOMP_CONNECT_SECONDS", -5, "above 0"),
        ("STOMP_CONNECT_SECONDS", float("nan"), "above 0"),
        ("STOMP_CONNECT_SECONDS", "10", "above 0"),
        ("STOMP_RULE_SECONDS", -1, "a number of 0 or more"),
        ("STOMP_HANDLER_THREADS", 0, "a number of 1 or more"),
        ("STOMP_MAX_FRAME_BYTES", "64k", "a number of 1 or more"),
        ("STOMP_MAX_SUBSCRIPTIONS", True, "a number of 1 or more"),
        ("STOMP_HEARTBEAT_MS", -1, "a number of 0 or more"),
        ("STOMP_ANONYMOUS", "no", "True or False"),
        ("STOMP_AUTHENTICATORS", "a.b", "a list of texts"),
        ("TRUSTED_PROXIES", [1], "a list of texts"),
        ("STOMP_ROUTING", None, "a text"),
        ("STOMP_JWT", "key", "a dictionary, or None"),
    ],
)
def test_a_setting_that_can_not_be_what_it_is_is_named(
    settings: Any, name: str, value: Any, wanted: str
) -> None:
    assert said(check_values) == []
    setattr(settings, name, value)
    assert said(check_values) == [f"realtime.E017: {name} is {value!r}: it has to be {wanted}"]
    assert check_limits(None) == []


@pytest.mark.parametrize("name", sorted(_MAY_BE_0))
def test_numbers_that_may_be_0_may(settings: Any, name: str) -> None:
    setattr(settings, name, 0)
    assert said(check_values) == []


def test_authenticators_that_are_not_there_are_named(settings: Any) -> None:
    settings.STOMP_AUTHENTICATORS = ["no.such.function"]
    assert said(check_values)[0].startswith("realtime.E015: STOMP_AUTHENTICATORS: 'no.such.functi")


def test_a_setting_that_nothing_reads_is_a_warning(settings: Any) -> None:
    settings.STOMP_HEARTBEAT = 5
    [warning] = check_values(None)
    assert (warning.id, warning.hint) == ("realtime.W003", "Do you mean STOMP_HEARTBEAT_MS?")


@pytest.mark.parametrize(
    "url",
    [
        "localhost:6379", "redis://h:x/0", "redis://:pass/word@h/0", "redis://h/abc", "http://h",
        "redis+sentinel://h", "redis+other://h", "",
    ],
)  # fmt: skip
def test_an_address_of_redis_that_can_not_be_read_is_named_and_not_repeated(
    settings: Any, url: str
) -> None:
    settings.REDIS_URL = url
    [error] = check_redis(None)
    assert (error.id, error.msg) == ("realtime.E016", "REDIS_URL can't be read")
    settings.REDIS_URL = "rediss://user:p%2Fw@h:6379/1?socket_timeout=3"
    layers = {"default": dict(settings.CHANNEL_LAYERS["default"])}
    layers["default"]["CONFIG"] = {"hosts": [url, ("h", 1), {"address": "redis://h"}]}
    settings.CHANNEL_LAYERS = layers
    assert said(check_redis) == ["realtime.E016: a host in CHANNEL_LAYERS can't be read"]


@pytest.mark.parametrize(
    "url",
    [
        "redis://h", "redis://h/", "rediss://u:p@h:1/3", "unix:///run/redis.sock",
        "redis+sentinel://h:1,g/name/0", "redis+cluster://h:1,g", "redis://[::1]:6379/0",
    ],
)  # fmt: skip
def test_addresses_of_redis_of_all_kinds_pass(settings: Any, url: str) -> None:
    settings.REDIS_URL = url
    assert said(check_redis) == []


@pytest.mark.parametrize(
    ("host", "good"),
    [
        ("*", True), (".example.org", True), ("Example.org", True), ("[::1]", True),
        ("::1", False), ("https://example.org", False), ("example.org:8080", False),
        ("example.org/", False),
    ],
)  # fmt: skip
def test_hosts_that_no_request_can_be_for_are_named(settings: Any, host: str, good: bool) -> None:
    settings.ALLOWED_HOSTS = [host]
    assert [each.id for each in check_hosts(None)] == ([] if good else ["gateway.E001"])


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("REDIS_URL=localhost:6379", "(realtime.E016) REDIS_URL can't be read"),
        ("STOMP_SEND_PREFIXES=app", "(realtime.E007) STOMP_SEND_PREFIXES is not read any more"),
        ("STOMP_CONNECT_SECONDS=-5", "(realtime.E017) STOMP_CONNECT_SECONDS is -5"),
        ("STOMP_CONNECT_SECONDS=soon", "STOMP_CONNECT_SECONDS is 'soon': it has to be a number"),
        ("STOMP_HEARTBEAT=5", "(gateway.W001) STOMP_HEARTBEAT is set, and nothing reads it"),
        ("STOMP_PUBLISH_WAIT=-1", "STOMP_PUBLISH_WAIT is -1: it has to be 0 or more"),
        ("STOMP_SHARDED=1", "STOMP_SHARDED is '1': it has to be one of off, hear, on"),
        ("METRICS_PORT=99999", "METRICS_PORT is 99999: it has to be 65535 or less"),
        ("LOG_LEVEL=LOUD", "LOG_LEVEL is 'LOUD': it has to be one of DEBUG, INFO,"),
        ("LOG_FORMAT=xml", "LOG_FORMAT is 'xml': it has to be text or json"),
        ("DATABASE_URL=nonsense", "DATABASE_URL can't be read"),
        ("DATABASE_URL=postgres://u:pass/word@h/d", "DATABASE_URL can't be read"),
        ("SECRET_KEY_FILE=/no/such/file", "SECRET_KEY_FILE can't be read: "),
        ("STOMP_JWT_KEY_FILE=/no/such/file", "STOMP_JWT_KEY_FILE can't be read: "),
        ("ALLOWED_HOSTS=::1", "(gateway.E001) ALLOWED_HOSTS has '::1'"),
        ("ALLOWED_ORIGINS=foo", "(corsheaders.E013)"),
        ("STOMP_ANONYMOUS=perhaps", "STOMP_ANONYMOUS is 'perhaps': it has to be 1 or 0"),
    ],
)
def test_a_wrong_variable_is_one_clear_error(variable: str, said: str) -> None:
    name, _, value = variable.partition("=")
    port = str(free_port())
    commands = [["manage.py", "check", "--fail-level", "WARNING"]]
    if not any(each in said for each in ("W001", "corsheaders", "METRICS_PORT")):
        commands.append(["-m", "gateway.workers"])
    for command in commands:
        done = subprocess.run(
            [sys.executable, *command],
            cwd=PROJECT,
            # A file is read where there is no value.
            env=environment(**{name.removesuffix("_FILE"): "", name: value, "PORT": port}),
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
        assert done.returncode == 1
        assert said in done.stderr
        assert "Traceback" not in done.stderr
        assert "pass" not in done.stderr.replace("password", "")


def test_a_level_may_be_written_small_and_what_is_empty_is_as_not_set() -> None:
    variables = {"LOG_LEVEL": "warning", "DATABASE_URL": "", "REDIS_PREFIX": "", "HTTPS": ""}
    assert "no issues" in manage("check", **variables)
