"""Settings: every one that is read has a default, and docs/configuration.md tells the same one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from django.core.checks import run_checks
from django.test import override_settings

from realtime.conf import NAMES, Conf, cached_setting, conf

#: Django's own, and the channels package's: they need no default of ours.
OF_OTHERS = {
    "ALLOWED_HOSTS", "ASGI_APPLICATION", "CHANNEL_LAYERS", "DATABASES",
    "DATA_UPLOAD_MAX_MEMORY_SIZE", "DEBUG", "MIDDLEWARE",
    "SESSION_COOKIE_NAME", "SESSION_ENGINE",
}  # fmt: skip

#: Where the gateway, which the page is about, has a default that suits nobody else.
OF_THE_GATEWAY = {"STOMP_ROUTING": "gateway.routing"}


def read_by(kind: str, project: Path) -> set[str]:
    """Return the settings that the apps read as attributes of an object of this name."""
    code = "".join(
        file.read_text()
        for app in ("realtime", "notifications")
        for file in (project / app).rglob("*.py")
    )
    return set(re.findall(rf"\b{kind}\.([A-Z][A-Z_]+)\b", code))


def test_every_setting_that_is_read_has_a_default(project: Path) -> None:
    read = read_by("conf", project)
    assert {"STOMP_MAX_FRAME_BYTES", "STOMP_ROUTING", "STOMP_DRAIN_SECONDS"} <= read
    assert read - set(NAMES) == set()


def test_what_is_not_ours_is_all_that_is_read_without_a_default(project: Path) -> None:
    assert read_by("settings", project) == OF_OTHERS


def test_every_default_is_read_somewhere(project: Path) -> None:
    own = set(re.findall(r"self\.([A-Z][A-Z_]+)", (project / "realtime" / "conf.py").read_text()))
    assert set(NAMES) - read_by("conf", project) - own == set()


@pytest.mark.parametrize("name", NAMES)
def test_a_default_is_of_the_type_that_its_setting_has(name: str) -> None:
    assert is_a(getattr(Conf, name), get_type_hints(Conf)[name])


def is_a(value: Any, kind: Any) -> bool:
    if get_origin(kind) is Sequence:
        return isinstance(value, tuple) and all(is_a(item, get_args(kind)[0]) for item in value)
    if kind is float:
        return type(value) in (int, float)
    return type(value) in (get_args(kind) or (kind,))


def test_readme_tells_the_same_defaults(project: Path) -> None:
    told = dict(defaults_of_the_page(project))
    assert {"STOMP_ANONYMOUS", "STOMP_RULE_SECONDS", "STOMP_MAX_BODY_BYTES"} <= told.keys()
    assert {name: value for name, value in told.items() if value != as_told(name)} == {}


def test_readme_tells_every_setting_that_comes_from_the_environment(project: Path) -> None:
    settings = (project / "gateway" / "settings.py").read_text()
    ours = {name for name in NAMES if re.search(rf'env_\w+\(\s*"{name}"', settings)}
    assert len(ours) > 10
    assert ours - dict(defaults_of_the_page(project)).keys() == set()


def defaults_of_the_page(project: Path) -> Iterator[tuple[str, str]]:
    """Return the variables of the page that are settings of ours, each with its default there."""
    table = (
        (project / "docs" / "configuration.md").read_text().partition("\n| variable | default |")[2]
    )
    for name, default in re.findall(r"^\| `([A-Z_]+)` \| (.*?) \|", table, re.MULTILINE):
        if name in NAMES:
            yield name, default.partition(";")[0].strip("`")


def as_told(name: str) -> str:
    """Return the default of a setting as the page would say it."""
    value = OF_THE_GATEWAY.get(name, getattr(Conf, name))
    if value is None:
        assert name == "STOMP_MAX_BODY_BYTES"
        return "STOMP_MAX_FRAME_BYTES"
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, tuple):
        return ",".join(value) or "none"
    return str(value)


def test_a_project_that_sets_nothing_has_no_routes_and_no_tokens() -> None:
    assert Conf.STOMP_ROUTING == ""
    assert [path for path in Conf.STOMP_AUTHENTICATORS if "token" in path] == []


def test_what_a_test_sets_is_seen_and_forgotten_afterwards() -> None:
    before = conf.STOMP_MAX_SUBSCRIPTIONS
    with override_settings(STOMP_MAX_SUBSCRIPTIONS=5):
        assert conf.STOMP_MAX_SUBSCRIPTIONS == 5
    after = conf.STOMP_MAX_SUBSCRIPTIONS
    assert after == before != 5


def test_the_settings_of_pytest_are_seen_too(settings: Any) -> None:
    settings.ALLOWED_ORIGINS = ["https://a.example"]
    assert conf.ALLOWED_ORIGINS == ["https://a.example"]


def test_a_body_may_be_as_large_as_a_frame_unless_its_own_limit_is_set(settings: Any) -> None:
    settings.STOMP_MAX_FRAME_BYTES = 1000
    settings.STOMP_MAX_BODY_BYTES = None
    assert conf.max_body_bytes == 1000
    settings.STOMP_MAX_BODY_BYTES = 500
    assert conf.max_body_bytes == 500


def test_what_is_derived_from_settings_is_so_once_until_one_changes(settings: Any) -> None:
    derived: list[float] = []

    @cached_setting
    def twice() -> float:
        derived.append(2 * conf.STOMP_CONNECT_SECONDS)
        return derived[-1]

    settings.STOMP_CONNECT_SECONDS = 1
    assert [twice(), twice(), len(derived)] == [2, 2, 1]
    settings.STOMP_CONNECT_SECONDS = 2
    assert [twice(), len(derived)] == [4, 2]


@pytest.mark.parametrize(
    "layers", [{}, {"default": {"BACKEND": "no.such.Layer"}}], ids=["none", "an unknown one"]
)
def test_a_project_without_a_channel_layer_is_told_so(settings: Any, layers: Any) -> None:
    settings.CHANNEL_LAYERS = layers
    assert [error.id for error in run_checks() if error.id == "realtime.E006"]
