"""Rules: what a pattern covers, what an entry takes, and how requirements combine."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User

from realtime.access.rules import adecide, decide
from realtime.destinations.names import DestinationError, quoted
from realtime.routes import allow, anyone, authenticated, group, owner, permission, service, staff
from realtime.routes.rules import Requirement, RulePattern, requirement
from realtime.routes.table import Table


@dataclass
class Who:
    """Somebody who asks."""

    user: Any = None
    id: str = "session"


ALICE = Who(User(username="alice"))
STAFF = Who(User(username="staff", is_staff=True))
NOBODY = Who()


@pytest.mark.parametrize(
    ("pattern", "covered", "others"),
    [
        ("/topic/a", ["/topic/a"],
         ["/topic/A", "/topic/a/", "/topic//a", "/topic/./a", "/topic/%61", "/topic/a/b"]),
        ("/topic/*", ["/topic/a", "/topic/*", "/topic/é", "/topic/%2F", "/topic/a b"],
         ["/topic/a/b", "/topic/", "/topic/**", "/topic/a/", "/topic/*/*"]),
        ("/topic/a/**", ["/topic/a", "/topic/a/b", "/topic/a/b/c", "/topic/a/*", "/topic/a/**"],
         ["/topic/ab", "/topic/b/a", "/topic/**", "/topic/*", "/topic/*/b", "/topic/a/",
          "/topic/a//**"]),
        ("/topic/{x}/b/*", ["/topic/a/b/c", "/topic/*/b/*"], ["/topic/a/b", "/topic/a/*/c"]),
        ("/**", ["/topic/a", "/app/a", "/user/alice/queue/a", "/topic/**", "/temp-queue/s/a"], []),
        ("/topic/a.b", ["/topic/a.b"], ["/topic/axb"]),
    ],
)  # fmt: skip
def test_a_pattern_covers_what_it_stands_for_byte_by_byte(
    pattern: str, covered: list[str], others: list[str]
) -> None:
    rule = RulePattern(pattern)
    assert [each for each in covered if rule.variables(each) is None] == []
    assert [each for each in others if rule.variables(each) is not None] == []


@pytest.mark.parametrize(
    ("pattern", "destination", "variables"),
    [
        ("/topic/{a}/{b}", "/topic/1/2", {"a": "1", "b": "2"}),
        ("/topic/{a}/**", "/topic/1/2/3", {"a": "1"}),
        ("/topic/{a}/**", "/topic/1", {"a": "1"}),
        ("/topic/{a}/**", "/topic/*/x", {}),
        ("/topic/{a}/**", "/topic/é b", {"a": "é b"}),
        ("/user/{username}/queue/**", "/user/jos%C3%A9/queue/a", {"username": "jos%C3%A9"}),
    ],
)
def test_a_variable_has_a_segment_and_of_a_pattern_only_what_it_says(
    pattern: str, destination: str, variables: dict[str, str]
) -> None:
    assert RulePattern(pattern).variables(destination) == variables


@pytest.mark.parametrize(
    ("rule", "pattern", "overlaps"),
    [
        ("/topic/a", "/topic/*", True),
        ("/topic/a", "/topic/**", True),
        ("/topic/a", "/topic/a/**", True),
        ("/topic/a", "/topic/b/**", False),
        ("/topic/a", "/topic/*/*", False),
        ("/topic/a/**", "/topic/*", True),
        ("/topic/a/**", "/topic/*/b", True),
        ("/topic/a/b/**", "/topic/*", False),
        ("/topic/{x}/b", "/topic/a/*", True),
        ("/topic/{x}/b", "/topic/a/c/*", False),
        ("/app/**", "/topic/**", False),
    ],
)
def test_a_rule_overlaps_a_pattern_if_some_destination_is_of_both(
    rule: str, pattern: str, overlaps: bool
) -> None:
    assert RulePattern(rule).overlaps(pattern) == overlaps


@pytest.mark.parametrize(
    "pattern",
    ["", "/", "a", "/queue/a", "/topic/", "/topic/a*", "/topic/**/a", "/topic/*b/c", "**", "/*",
     "/topic/a{x}*", "/topic/a\n", "/topic/" + "a" * 250],
)  # fmt: skip
def test_what_is_no_pattern_is_refused_when_an_entry_is_made(pattern: str) -> None:
    with pytest.raises(DestinationError):
        allow(pattern, subscribe=anyone)


def test_a_mistake_is_refused_when_an_entry_is_made() -> None:
    with pytest.raises(ValueError, match="is not a requirement"):
        allow("/topic/a", subscribe="staff")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="tell or close"):
        allow("/topic/a", subscribe=anyone, on_revoked="shout")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="app_label.codename"):
        permission("view_order")
    with pytest.raises(ValueError, match="is not a requirement"):
        anyone | None  # type: ignore[operator]


@pytest.mark.parametrize("action", ["subscribe", "send", "publish", "history"])
@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (group, r"group has to be called: group\('NAME'\)"),
        (permission, r"permission has to be called: permission\('app_label.codename'\)"),
        (lambda who: True, r"has to take \(who, destination, variables\)"),
        (lambda who, destination, variables, more: True, "has to take"),
        (lambda who, *, destination, variables: True, "has to take"),
        (object, "has to take"),
        (owner, "needs {username} in it"),
        (staff | owner, "needs {username} in it"),
        (staff | (authenticated | owner), "needs {username} in it"),
    ],
)
def test_what_would_allow_or_deny_by_mistake_is_refused(
    action: str, asked: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        allow("/topic/{user}/username", **{action: asked})
    assert "allow('/topic/{user}/username')" in str(raised.value)


def test_alternatives_refuse_what_a_rule_refuses() -> None:
    with pytest.raises(ValueError, match="group has to be called"):
        staff | group
    with pytest.raises(ValueError, match="has to take"):
        staff | (lambda: True)


@pytest.mark.parametrize(
    "asked",
    [lambda *asked: True, lambda who, destination, variables, more=1: True, max],
)
def test_what_can_be_asked_is_a_requirement(asked: Any) -> None:
    assert requirement(asked).check is asked


@pytest.mark.parametrize(
    ("earlier", "later", "hidden"),
    [
        ("/topic/a", "/topic/a", True),
        ("/topic/**", "/topic/a", True),
        ("/topic/a/**", "/topic/a", True),
        ("/topic/*", "/topic/{x}", True),
        ("/topic/{x}/**", "/topic/a/*", True),
        ("/**", "/app/**", True),
        ("/**", "/**", True),
        ("/topic/a", "/topic/*", False),
        ("/topic/*", "/topic/**", False),
        ("/topic/{x}/b", "/topic/a/*", False),
        ("/topic/**", "/**", False),
        ("/topic/**", "/app/**", False),
    ],
)
def test_a_rule_is_never_reached_if_one_before_covers_all_of_it(
    earlier: str, later: str, hidden: bool
) -> None:
    rules = [allow(earlier, subscribe=staff), allow(later)]
    assert Table(rules).never_reached() == ([(rules[1], rules[0])] if hidden else [])


def test_who_may_look_back_is_who_may_subscribe_unless_said_otherwise() -> None:
    mine = "/topic/{username}"
    assert allow(mine, subscribe=owner).requirements["history"] is owner
    assert allow(mine, subscribe=owner, history=staff).requirements["history"] is staff
    assert "history" not in allow("/topic/a", send=anyone).requirements
    assert "history" not in allow("/app/a", subscribe=anyone).requirements


def yes(who: Any, destination: str, variables: Any) -> bool:
    return True


def no(who: Any, destination: str, variables: Any) -> bool:
    return False


async def later_yes(who: Any, destination: str, variables: Any) -> bool:
    return True


async def later_no(who: Any, destination: str, variables: Any) -> bool:
    return False


class LaterNo:
    async def __call__(self, who: Any, destination: str, variables: Any) -> bool:
        return False


COMBINATIONS: list[tuple[Any, bool]] = [
    (anyone, True),
    (yes, True),
    (no, False),
    (later_yes, True),
    (later_no, False),
    (LaterNo(), False),
    (requirement(no) | yes, True),
    (requirement(no) | no, False),
    (requirement(no) | later_yes, True),
    (requirement(later_no) | no, False),
    (requirement(later_no) | yes, True),
    (requirement(no) | LaterNo(), False),
    (staff | owner | later_no, False),
    (staff | owner | later_yes, True),
    (requirement(later_no) | (requirement(no) | later_yes), True),
]


def name_of(value: object) -> str:
    """Return what is the same in each run: names of tests may hold no addresses."""
    return re.sub(r" (object )?at 0x\w+", "", str(value))


@pytest.fixture
def rules(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let these be the rules."""

    def set_rules(*entries: Any) -> None:
        table = Table(entries)
        monkeypatch.setattr("realtime.access.rules.rules_of", table.rules)

    return set_rules


@pytest.mark.parametrize(("asked", "allowed"), COMBINATIONS, ids=name_of)
def test_requirements_combine_where_code_is_synchronous(
    rules: Any, asked: Any, allowed: bool
) -> None:
    rules(allow("/topic/{username}", subscribe=asked))
    assert decide(ALICE, "subscribe", "/topic/a").allowed == allowed


@pytest.mark.parametrize(("asked", "allowed"), COMBINATIONS, ids=name_of)
async def test_requirements_combine_where_it_is_not(rules: Any, asked: Any, allowed: bool) -> None:
    rules(allow("/topic/{username}", subscribe=asked))
    assert (await adecide(ALICE, "subscribe", "/topic/a")).allowed == allowed


@pytest.mark.parametrize("either", [False, True], ids=["alone", "with others"])
async def test_a_function_that_only_returns_something_to_await_allows_nothing(
    rules: Any, either: bool
) -> None:
    hidden = requirement(lambda *asked: later_yes(*asked))
    rules(allow("/topic/a", subscribe=(staff | hidden) if either else hidden))
    with pytest.raises(TypeError, match="async def"):
        decide(ALICE, "subscribe", "/topic/a")
    with pytest.raises(TypeError, match="async def"):
        await adecide(ALICE, "subscribe", "/topic/a")


def test_a_requirement_says_what_it_asks_for() -> None:
    names = [each.name for each in (staff | owner, group("a"), permission("a.b"), service)]
    assert names == ["staff | owner", "group('a')", "permission('a.b')", "service"]
    assert requirement(yes).name == "yes"
    assert requirement(LaterNo()).name == "LaterNo"
    assert (staff | owner).at_once
    assert not (staff | group("a")).at_once


@pytest.mark.parametrize(
    ("asked", "who", "allowed"),
    [
        (anyone, NOBODY, True),
        (authenticated, NOBODY, False),
        (authenticated, Who(AnonymousUser()), False),
        (authenticated, ALICE, True),
        (staff, ALICE, False),
        (staff, STAFF, True),
        (staff, Who(AnonymousUser()), False),
        (group("a"), NOBODY, False),
        (permission("a.b"), Who(AnonymousUser()), False),
        (owner, NOBODY, False),
        (owner, Who(AnonymousUser()), False),
    ],
)
def test_requirements_ask_whoever_there_is(asked: Requirement, who: Who, allowed: bool) -> None:
    assert bool(asked(who, "/topic/a", {"username": ""})) == allowed


@pytest.mark.parametrize("name", ["alice", "josé", "a/b", "50%", "*", "**", "a b", "al@x.org"])
def test_an_owner_has_a_name_of_any_kind_and_is_no_other(rules: Any, name: str) -> None:
    rules(allow("/topic/home/{username}/x", subscribe=owner))
    me, other = Who(User(username=name)), Who(User(username="mallory"))
    destination = f"/topic/home/{quoted(name)}/x"
    assert decide(me, "subscribe", destination).allowed
    assert not decide(other, "subscribe", destination).allowed
    for pattern in ("/topic/home/*/x", "/topic/home/**", "/topic/home/mallory/x"):
        assert not decide(me, "subscribe", pattern).allowed


@pytest.mark.parametrize(
    ("entries", "allowed", "denied"),
    [
        # The first that covers decides.
        ([allow("/topic/a"), allow("/topic/**", subscribe=anyone)],
         ["/topic/b", "/topic/b/*", "/topic/b/**"],
         ["/topic/a", "/topic/*", "/topic/**", "/topic/a/**", "/app/a"]),
        ([allow("/topic/**", subscribe=anyone), allow("/topic/a")],
         ["/topic/a", "/topic/**"], []),
        # A pattern needs the yes of all that it overlaps, and one that covers all of it.
        ([allow("/topic/a", subscribe=staff), allow("/topic/**", subscribe=anyone)],
         ["/topic/b"], ["/topic/a", "/topic/*", "/topic/**"]),
        ([allow("/topic/a", subscribe=anyone), allow("/topic/b/**", subscribe=anyone)],
         ["/topic/a", "/topic/b/*", "/topic/b/**"], ["/topic/*", "/topic/**", "/topic/c"]),
        ([allow("/topic/**"), allow("/topic/a", subscribe=anyone)], [], ["/topic/a", "/topic/*"]),
        ([], [], ["/topic/a", "/topic/**", "/app/a"]),
    ],
)  # fmt: skip
async def test_the_first_rules_that_cover_something_decide(
    rules: Any, entries: list[Any], allowed: list[str], denied: list[str]
) -> None:
    rules(*entries)
    asked = [*allowed, *denied]
    yes = [each for each in asked if decide(ALICE, "subscribe", each).allowed]
    assert yes == allowed
    assert yes == [each for each in asked if (await adecide(ALICE, "subscribe", each)).allowed]
