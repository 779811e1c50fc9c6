"""
Rules of the routing table: who may do what with which destinations.

The first entry that covers a destination decides; what it does not name is denied::

    allow("/topic/news", subscribe=anyone, publish=service),
    allow("/topic/orders/{id}/**", subscribe=permission("shop.view_order"), publish=service),
    allow("/topic/home/{username}/*", subscribe=owner | staff, send=owner, sender=True),
    allow("/app/**", send=authenticated, subscribe=authenticated),
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

from realtime.concurrency import in_thread
from realtime.destinations.names import APPLICATION, DestinationError, check_destination, quoted
from realtime.destinations.patterns import Pattern

#: What may be allowed: to hear a destination; to SEND to it, as a client; to publish to it, over
#: the API; to look back, by a page of its history or a replay.
Action = Literal["subscribe", "send", "publish", "history"]
ACTIONS: Final[tuple[Action, ...]] = get_args(Action)

#: What becomes of a subscription that is not allowed any more: its client is told, or closed.
OnRevoked = Literal["tell", "close"]

Check = Callable[[Any, str, Mapping[str, str]], Any]

_VARIABLE: Final = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Requirement:
    """
    What a rule asks of who wants something.

    Args:
        name: For people.
        check: Called with who asks (a session or a request: both have ``user``), the destination,
            and the variables of the rule's pattern.
        at_once: Whether it needs nothing but what is in memory; otherwise it runs in a thread,
            unless it is async, and its answer is remembered for ``STOMP_RULE_SECONDS``.
        of_user: Whether its answer is the same for all destinations, and another one only when
            the user has changed.
    """

    name: str
    check: Check = field(repr=False)
    at_once: bool = False
    of_user: bool = False

    def __or__(self, other: Requirement | Check) -> Requirement:
        other = requirement(other)
        return Requirement(
            f"{self.name} | {other.name}",
            _Either(self, other),
            self.at_once and other.at_once,
            self.of_user and other.of_user,
        )

    def __call__(self, who: Any, destination: str, variables: Mapping[str, str]) -> Any:
        answer = self.check(who, destination, variables)
        if inspect.iscoroutine(answer) and not self.is_async:  # which would count as yes
            answer.close()
            raise TypeError(f"{self.name} returns something to await: make it an async def")
        return answer

    @property
    def is_async(self) -> bool:
        """Whether what it returns has to be awaited."""
        if isinstance(self.check, _Either):
            return self.check.is_async
        asked = (self.check, getattr(self.check, "__call__", None))  # noqa: B004
        return any(map(inspect.iscoroutinefunction, asked))


class _Either:
    """One requirement or another."""

    def __init__(self, *requirements: Requirement) -> None:
        self.requirements = requirements
        self.is_async = any(each.is_async for each in requirements)

    def __call__(self, who: Any, destination: str, variables: Mapping[str, str]) -> Any:
        if self.is_async:
            return self._ask_async(who, destination, variables)
        return any(each(who, destination, variables) for each in self.requirements)

    async def _ask_async(self, *asked: Any) -> bool:
        for each in self.requirements:
            if await _answer(each, *asked):
                return True
        return False


async def _answer(requirement: Requirement, *asked: Any) -> Any:
    if requirement.is_async:
        return await requirement(*asked)
    if requirement.at_once:
        return requirement(*asked)
    return await in_thread(requirement, *asked)


def requirement(check: Requirement | Check) -> Requirement:
    """
    Return a function as a requirement.

    Raises:
        ValueError: If it can't be called with what a rule asks.
    """
    if isinstance(check, Requirement):
        return check
    if not callable(check):
        raise ValueError(f"{check!r} is not a requirement: name anyone, staff, ... or a function")
    if check is group:
        raise ValueError("group has to be called: group('NAME')")
    if check is permission:
        raise ValueError("permission has to be called: permission('app_label.codename')")
    name = getattr(check, "__qualname__", type(check).__name__)
    if not _takes_what_is_asked(check):
        raise ValueError(f"{name} has to take (who, destination, variables)")
    return Requirement(name, check)


def _takes_what_is_asked(check: Check) -> bool:
    try:
        signature = inspect.signature(check)
    except (TypeError, ValueError):  # of something in C, which does not say
        return True
    try:
        signature.bind(None, "", {})
    except TypeError:
        return False
    return True


def _asks_for_owner(requirement: Requirement) -> bool:
    if isinstance(requirement.check, _Either):
        return any(map(_asks_for_owner, requirement.check.requirements))
    return requirement is owner


def _user_of(who: Any) -> Any:
    """Return the user of a session or a request, or None for nobody."""
    user = who.user
    return user if user is not None and user.is_authenticated else None


def _is_owner(who: Any, destination: str, variables: Mapping[str, str]) -> bool:
    user = _user_of(who)
    return user is not None and variables.get("username") == quoted(user.get_username())


def _is_staff(who: Any, destination: str, variables: Mapping[str, str]) -> bool:
    user = _user_of(who)
    return user is not None and bool(user.is_staff)


#: Everybody, logged in or not.
anyone: Final = Requirement("anyone", lambda *_: True, at_once=True, of_user=True)
#: Whoever is logged in.
authenticated: Final = Requirement(
    "authenticated", lambda who, *_: _user_of(who) is not None, at_once=True, of_user=True
)
#: Members of the staff, as the admin knows them.
staff: Final = Requirement("staff", _is_staff, at_once=True, of_user=True)
#: The user whose name stands where the pattern has ``{username}``.
owner: Final = Requirement("owner", _is_owner, at_once=True)


def group(name: str) -> Requirement:
    """Members of a group of Django's."""

    def check(who: Any, *_: Any) -> bool:
        user = _user_of(who)
        return user is not None and user.groups.filter(name=name).exists()

    return Requirement(f"group({name!r})", check, of_user=True)


def permission(name: str) -> Requirement:
    """
    Users with a permission of Django's: ``app_label.codename``.

    Raises:
        ValueError: If it is not written so.
    """
    if "." not in name:
        raise ValueError(f"{name!r} is not the name of a permission: app_label.codename")

    def check(who: Any, *_: Any) -> bool:
        user = _user_of(who)
        return user is not None and user.has_perm(name)

    return Requirement(f"permission({name!r})", check, of_user=True)


#: The permission by which an account is a service, and may publish over the API.
PUBLISH: Final = "notifications.publish"
#: What those are told who have it not.
NEEDS_PUBLISH: Final = f"publishing needs the permission {PUBLISH}"

#: Accounts that may publish for others: services.
service: Final = Requirement("service", permission(PUBLISH).check, of_user=True)


def _is_operator(who: Any, *asked: Any) -> bool:
    return _is_staff(who, *asked) and bool(_user_of(who).has_perm(SEE_NODES))


#: The permission by which members of the staff see what nodes do.
SEE_NODES: Final = "realtime.view_noderecord"
#: Members of the staff who may see what nodes do.
operator: Final = Requirement("operator", _is_operator)


class RulePattern:
    """
    The destinations of a rule: ``*`` and ``{name}`` are one segment, ``**`` at the end any number.

    Raises:
        DestinationError: If it is no such pattern.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._pattern = Pattern(_check_pattern(_VARIABLE.sub("*", text)))
        # A name may be anything but a segment's end; that of a user is quoted.
        parts = re.split(r"(\{\w+\}|\*\*|\*)", text.removesuffix("/**"))
        self._match = re.compile(
            "".join(map(_as_expression, parts)) + ("(?:/.+)?" if text.endswith("/**") else ""),
            re.DOTALL,
        ).fullmatch

    def variables(self, destination: str) -> dict[str, str] | None:
        """
        Return the variables if this covers a destination, or all that a pattern stands for; what
        the pattern leaves open has no value. None if it does not.
        """
        match = self._match(destination)  # which demands that no segment is empty
        stem = destination.removesuffix("/**")  # a pattern that ends so stands for this, too
        if not (match and self._match(stem) and self._pattern.covers(destination)):
            return None
        return {name: value for name, value in match.groupdict().items() if value != "*"}

    def covers(self, other: RulePattern) -> bool:
        """Return whether this stands for all that another does."""
        return self.variables(other._pattern.text) is not None

    def overlaps(self, pattern: str) -> bool:
        """Return whether a pattern stands for something that this does, too."""
        return _overlap(self._pattern.text.split("/"), pattern.split("/"))


def _check_pattern(pattern: str) -> str:
    """Return a pattern if each of its stars is a whole segment, and two of them the last."""
    if pattern == "/**":
        return pattern
    check_destination(pattern)
    *segments, last = pattern.split("/")
    stars = [*(each for each in segments if each != "*"), *([] if last in ("*", "**") else [last])]
    if any("*" in each for each in stars):
        raise DestinationError(
            f"{pattern!r} is not a pattern: * has to be a whole segment, ** the last one",
            code="bad-pattern",
        )
    return pattern


def _as_expression(part: str) -> str:
    if variable := _VARIABLE.fullmatch(part):
        return f"(?P<{variable[1]}>[^/]+)"
    return "[^/]+" if part == "*" else re.escape(part)


def _overlap(ours: list[str], theirs: list[str]) -> bool:
    if not ours or not theirs:
        return not ours and not theirs or (ours or theirs) == ["**"]
    if ours == ["**"] or theirs == ["**"]:
        return True
    same = "*" in (ours[0], theirs[0]) or ours[0] == theirs[0]
    return same and _overlap(ours[1:], theirs[1:])


@dataclass(frozen=True)
class Rule:
    """An entry of the routing table: who may do what with some destinations; see :func:`allow`."""

    pattern: str
    requirements: Mapping[Action, Requirement]
    sender: bool = False
    on_revoked: OnRevoked = "tell"
    compiled: RulePattern = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "compiled", RulePattern(self.pattern))
        if self.on_revoked not in get_args(OnRevoked):
            raise ValueError(f"on_revoked is {self.on_revoked!r}: it has to be tell or close")
        if "{username}" not in self.pattern.split("/"):
            for action, each in self.requirements.items():
                if _asks_for_owner(each):
                    raise ValueError(f"{self}: {action}={each.name} needs {{username}} in it")

    def __str__(self) -> str:
        return f"allow({self.pattern!r})"

    @property
    def history_is_heard(self) -> bool:
        """Whether those may look back who may hear, and no others."""
        return self.requirements.get("history") is self.requirements.get("subscribe")


def allow(
    pattern: str,
    *,
    subscribe: Requirement | Check | None = None,
    send: Requirement | Check | None = None,
    publish: Requirement | Check | None = None,
    history: Requirement | Check | None = None,
    sender: bool = False,
    on_revoked: OnRevoked = "tell",
) -> Rule:
    """
    Allow something with the destinations that a pattern stands for; what is left out is denied.

    Args:
        pattern: A destination, or many: ``*`` or ``{name}`` for one segment, ``**`` at the end for
            any number of them. ``{username}`` is what :data:`owner` compares.
        subscribe: Who may hear them, at whatever door.
        send: Who may SEND to them; to ``/user/...`` and ``/temp-queue/...`` only services may.
        publish: Who may publish to them over the API, which needs the permission
            ``notifications.publish`` as well.
        history: Who may look back; if left out, who may subscribe.
        sender: Whether a MESSAGE of a SEND says in its header ``sender`` whose it was.
        on_revoked: What becomes of a subscription that is not allowed any more.

    Raises:
        DestinationError: If the pattern is not one.
        ValueError: If anything else is wrong.
    """
    named: dict[Action, Requirement | Check | None] = {
        "subscribe": subscribe,
        "send": send,
        "publish": publish,
        "history": history,
    }
    requirements: dict[Action, Requirement] = {}
    for action, asked in named.items():
        if asked is not None:
            try:
                requirements[action] = requirement(asked)
            except ValueError as error:
                raise ValueError(f"allow({pattern!r}): {action}: {error}") from None
    if history is None and "subscribe" in requirements and not pattern.startswith(APPLICATION):
        requirements["history"] = requirements["subscribe"]
    return Rule(pattern, requirements, sender, on_revoked)
