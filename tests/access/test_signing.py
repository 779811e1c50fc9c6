"""Signed destinations: what a token grants, to whom, and until when."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import pytest
from django.core import signing as django_signing
from hypothesis import given
from hypothesis import strategies as st

from realtime import sign
from realtime.access import signing
from realtime.access.signing import NotSigned, verify
from realtime.destinations.names import DestinationError
from realtime.destinations.patterns import Pattern, pattern_of

SEGMENTS = st.sampled_from(["a", "b", "*", "**", "", "a*", "é"])
DESTINATIONS = st.lists(SEGMENTS, min_size=1, max_size=4).map(
    lambda each: "/topic/" + "/".join(each)
)
NAMES = st.lists(st.sampled_from(["a", "b", "é", "*"]), min_size=1, max_size=5).map("/".join)


def refused(token: str, destination: str, user: str | None = None) -> str:
    """Return why a token is refused; nothing of it is in the reason."""
    with pytest.raises(NotSigned) as info:
        verify(token, destination, user)
    assert token == "" or token not in f"{info.value!r}"
    return info.value.reason


@pytest.mark.parametrize(
    ("signed", "granted", "others"),
    [
        ("/topic/a", ["/topic/a"], ["/topic/b", "/topic/a/b", "/topic/*", "/topic/**", "/topic/"]),
        ("/topic/*", ["/topic/a", "/topic/*"], ["/topic/a/b", "/topic/**", "/topic/*/*"]),
        ("/topic/a/**", ["/topic/a", "/topic/a/b/c", "/topic/a/**", "/topic/a/*/b"],
         ["/topic/ab", "/topic/**", "/topic/*/b", "/topic/a/", "/topic/a/b*", "/topic/a//**"]),
        ("/topic/a/*/b", ["/topic/a/c/b", "/topic/a/*/b"], ["/topic/a//b", "/topic/a/**"]),
        ("/user/alice/queue/a", ["/user/alice/queue/a"],
         ["/user/bob/queue/a", "/user/queue/a", "/user/*/queue/a"]),
    ],
)  # fmt: skip
def test_a_token_grants_what_it_covers_and_nothing_else(
    signed: str, granted: list[str], others: list[str]
) -> None:
    token = sign(signed)
    for destination in granted:
        assert verify(token, destination, None) > time.time()
    for destination in [*others, "", "a", "/app/a", "/topic/a\n"]:
        assert refused(token, destination) == "the token is for another destination"


@given(DESTINATIONS, DESTINATIONS, NAMES)
def test_whatever_matches_what_is_granted_matches_what_was_signed(
    signed: str, wanted: str, name: str
) -> None:
    try:
        token = sign(signed)
        verify(token, wanted, None)
    except (DestinationError, NotSigned):
        return
    assert pattern_of(signed).covers(wanted)
    for some in {wanted.replace("**", name).replace("*", "x"), wanted.removesuffix("/**")}:
        assert not Pattern(wanted).matches(some) or Pattern(signed).matches(some)


@given(DESTINATIONS)
def test_what_is_signed_is_granted_itself(signed: str) -> None:
    try:
        token = sign(signed)
    except DestinationError:
        return
    assert verify(token, signed, None) > time.time()


@pytest.mark.parametrize("user", ["alice", "bob@example.org", "é"])
def test_a_token_of_a_user_is_of_nobody_else(user: str) -> None:
    token = sign("/topic/a", user=user)
    assert verify(token, "/topic/a", user) > time.time()
    for other in (None, "", "mallory", user.upper(), f"{user} "):
        assert refused(token, "/topic/a", other) == "the token is for another user"


@pytest.mark.parametrize("user", [None, "", "alice"])
def test_a_token_of_no_user_is_of_whoever_has_it(user: str | None) -> None:
    assert verify(sign("/topic/a"), "/topic/a", user) > time.time()


def test_a_token_holds_until_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    token = sign("/topic/a", ttl=60)
    end = verify(token, "/topic/a", None)
    assert now + 60 <= end <= time.time() + 60
    monkeypatch.setattr(signing.time, "time", lambda: end - 0.001)
    assert verify(token, "/topic/a", None) == end
    monkeypatch.setattr(signing.time, "time", lambda: end)
    assert refused(token, "/topic/a") == "the token has expired"


def test_a_token_that_was_changed_is_refused() -> None:
    token = sign("/topic/a")
    for at in range(len(token)):
        other = "A" if token[at] != "A" else "B"
        reason = refused(token[:at] + other + token[at + 1 :], "/topic/a")
        assert reason == "the token is not signed here, or damaged"


@pytest.mark.parametrize(
    "token", ["", ":", "::", "a:b:c", "é:é:é", "\ud800", "." * 100, "a" * 9999]
)
def test_what_is_no_token_is_refused(token: str) -> None:
    assert refused(token, "/topic/a") == "the token is not signed here, or damaged"


def test_what_django_signs_for_others_is_no_token() -> None:
    content = ["/topic/a", None, time.time() + 60]
    for token in (django_signing.dumps(content), django_signing.dumps(content, salt="sessions")):
        assert refused(token, "/topic/a") == "the token is not signed here, or damaged"


def test_an_old_secret_is_good_while_it_is_a_fallback(settings: Any) -> None:
    token = sign("/topic/a")
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "a new one", [settings.SECRET_KEY]
    assert verify(token, "/topic/a", None) > time.time()
    settings.SECRET_KEY_FALLBACKS = []
    assert refused(token, "/topic/a") == "the token is not signed here, or damaged"


@pytest.mark.parametrize(
    "destination",
    ["", "a", "/topic/", "/app/a", "/queue/a", "/topic/a*", "/topic/**/a", "/user/queue/a"],
)
def test_what_nobody_can_hear_is_not_signed(destination: str) -> None:
    with pytest.raises(ValueError, match=r"destination|pattern|nobody hears"):
        sign(destination)


@pytest.mark.parametrize("ttl", [0, -1, float("nan")])
def test_a_token_is_not_made_for_no_time(ttl: Any) -> None:
    with pytest.raises(ValueError, match="positive number of seconds"):
        sign("/topic/a", ttl=ttl)


def test_a_user_without_a_name_is_not_everybody() -> None:
    with pytest.raises(ValueError, match="has a name"):
        sign("/topic/a", user="")


def test_the_package_can_be_imported_before_django() -> None:
    code = "import sys, realtime; assert not [name for name in sys.modules if 'django' in name]"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_package_has_nothing_else() -> None:
    import realtime

    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        realtime.nothing  # noqa: B018
