"""
Rules: decide who may do what, by the routing table; one answer for every door, and for `explain`.

The answer has the rule that decided and says why, for the log and, while DEBUG is on, for the
client.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from sys import intern
from typing import Any, Final, NamedTuple

from asgiref.sync import async_to_sync
from django.conf import settings

from realtime.concurrency import Busy, FairThreads
from realtime.conf import conf
from realtime.counters import counters
from realtime.destinations.names import TEMPORARY, USER, quoted
from realtime.routes.rules import Action, Requirement, Rule, service
from realtime.routes.table import rules_of
from realtime.stomp import AccessDenied, Unavailable

from . import audit

#: Where rules ask the database, for sessions; each session has its turn.
rule_threads: Final = FairThreads(4, limit=10_000, limit_of_one=100, name="realtime-rules")

#: How many answers one session remembers.
MAX_ANSWERS: Final = 1500

#: What those who ask want, in words.
_WANTED: Final[Mapping[Action, str]] = {
    "subscribe": "subscribe to",
    "send": "send to",
    "publish": "publish to",
    "history": "look back at",
}


@dataclass(frozen=True, slots=True)
class Decision:
    """
    Whether something is allowed.

    Args:
        rule: The one that decided; None where none covers the destination.
        why: In words.
        until: When to ask again, on the clock of :func:`time.monotonic`.
        sender: Whether what is sent says whose it is.
    """

    allowed: bool
    action: Action
    destination: str
    rule: Rule | None
    why: str
    until: float = float("inf")
    sender: bool = False

    @property
    def refusal(self) -> str:
        """What is refused, and why."""
        return f"{self._refused}: {self.why}"

    def denied(self) -> AccessDenied:
        """Return the error for who asked; it says why only while DEBUG is on."""
        message = self.refusal if settings.DEBUG else self._refused
        return AccessDenied(message, code=f"{self.action}-denied")

    @property
    def _refused(self) -> str:
        return f"you may not {_WANTED[self.action]} {self.destination!r}"


class Question(NamedTuple):
    """What a rule asks."""

    rule: Rule
    requirement: Requirement | None
    variables: Mapping[str, str]


def decide(who: Any, action: Action, destination: str) -> Decision:
    """
    Decide for a request, or anybody with a ``user``; from synchronous code that may use the ORM.
    """
    question = None
    for question in _questions(who, action, destination):
        if question.requirement is None or not _ask_sync(question, who, destination):
            return _denied(question, action, destination)
    return _decided(question, action, destination)


async def adecide(who: Any, action: Action, destination: str) -> Decision:
    """
    Decide for a session.

    Raises:
        Unavailable: If the database has too much to do.
    """
    question, at_once = None, True
    for question in _questions(who, action, destination):
        if question.requirement is None or not await _ask(question, who, destination):
            return _denied(question, action, destination)
        at_once = at_once and question.requirement.at_once
    until = float("inf") if at_once else time.monotonic() + conf.STOMP_RULE_SECONDS
    return _decided(question, action, destination, until)


def asked_of_user(who: Any, action: Action, destination: str) -> set[Requirement]:
    """
    Return what rules ask of the user alone; where :func:`decide` allowed it, that holds until the
    user changes.
    """
    asked = [question.requirement for question in _questions(who, action, destination)]
    return {each for each in asked if each is not None and each.of_user}


def is_allowed_at_once(
    who: Any, action: Action, destination: str, held: Collection[Requirement]
) -> bool:
    """
    Return whether something is allowed by what is in memory; if not, :func:`decide` knows.

    Args:
        held: What is known to hold for the user, of :func:`asked_of_user`.
    """
    questions = list(_questions(who, action, destination))
    return bool(questions) and all(
        requirement is not None
        and (
            requirement in held
            or (requirement.at_once and bool(requirement(who, destination, variables)))
        )
        for _, requirement, variables in questions
    )


def record(who: Any, address: str, decision: Decision) -> None:
    """Write into the audit log that a rule, or none, refused something."""
    rule = str(decision.rule) if decision.rule is not None else "none"
    _record(who, address, decision.action, destination=decision.destination, rule=rule)


def record_refused(
    who: Any, address: str, action: Action, reason: str, destination: str | None = None
) -> None:
    """Write into the audit log that something was refused before a rule was asked."""
    named = {} if destination is None else {"destination": destination}
    _record(who, address, action, **named, reason=reason)


def _record(who: Any, address: str, action: Action, **fields: str) -> None:
    counters.add(counters.refused, fields.get("rule", "unasked"))
    name = who.user.get_username() if who.user is not None else ""
    audit.record("refused", action=action, user=name, address=address, **fields)


class Permissions:
    """
    What one session may do, as far as it has asked.

    Args:
        session: Whose they are; it has ``user`` and ``id``.
    """

    def __init__(self, session: Any) -> None:
        self._session = session
        #: By action and destination; what is in here and not yet due needs no question.
        self.allowed: dict[tuple[Action, str], Decision] = {}
        #: Another number each time that all was forgotten.
        self.era = 0

    async def check(self, action: Action, destination: str) -> Decision:
        """
        Return the decision if it is allowed.

        Raises:
            AccessDenied: If it is not; that has been written into the audit log.
        """
        known = self.allowed.get((action, destination))
        if known is not None and known.until > time.monotonic():
            return known
        decision = await self._ask(action, destination)
        if not decision.allowed:
            record(self._session, self._session.address, decision)
            raise decision.denied()
        self._remember(action, decision)
        if action == "subscribe" and decision.rule is not None and decision.rule.history_is_heard:
            self._remember("history", decision)
        return decision

    async def _ask(self, action: Action, destination: str) -> Decision:
        """Ask the rules; anew, if the user changed while they were asked."""
        while True:
            era = self.era
            decision = await adecide(self._session, action, destination)
            if era == self.era:
                return decision

    def _remember(self, action: Action, decision: Decision) -> None:
        if len(self.allowed) >= MAX_ANSWERS:
            self.allowed.clear()
        self.allowed[action, decision.destination] = decision

    def forget(self) -> None:
        """Forget all answers, those under way too: what they depend on may have changed."""
        self.era += 1
        self.allowed.clear()


def _questions(who: Any, action: Action, destination: str) -> Iterator[Question]:
    """Yield what has to be answered with yes, all of it; nothing if there is no rule."""
    rules = rules_of(destination)
    for rule, variables in rules:
        yield Question(rule, rule.requirements.get(action), variables)
    others = destination.startswith((USER, TEMPORARY)) and not _is_own(who, destination)
    if rules and others and action == "send":
        yield Question(rules[-1][0], service, {})


def _is_own(who: Any, destination: str) -> bool:
    user = who.user
    return user is not None and destination.startswith(f"{USER}{quoted(user.get_username())}/")


async def _ask(question: Question, who: Any, destination: str) -> bool:
    requirement = question.requirement
    assert requirement is not None
    if requirement.at_once:
        return bool(requirement(who, destination, question.variables))
    if requirement.is_async:
        return bool(await requirement(who, destination, question.variables))
    try:
        key = getattr(who, "id", None)
        return bool(await rule_threads.run(key, requirement, who, destination, question.variables))
    except Busy as busy:
        raise Unavailable(
            "the database has too much to do: try again",
            code="unavailable",
            retry_after=busy.seconds,
        ) from None


def _ask_sync(question: Question, who: Any, destination: str) -> bool:
    requirement = question.requirement
    assert requirement is not None
    asked = who, destination, question.variables
    if requirement.is_async:
        return bool(async_to_sync(_awaited)(requirement, *asked))
    return bool(requirement(*asked))


async def _awaited(requirement: Requirement, *asked: Any) -> Any:
    return await requirement(*asked)


def _denied(question: Question, action: Action, destination: str) -> Decision:
    rule, requirement, _ = question
    covers = "" if rule.compiled.variables(destination) is not None else " covers a part, and"
    if requirement is None:
        why = f"{rule}{covers} says nothing of {action}"
    else:
        why = f"{rule}{covers} asks for {requirement.name}"
    return Decision(False, action, destination, rule, why)


def _decided(
    question: Question | None, action: Action, destination: str, until: float = float("inf")
) -> Decision:
    if question is None:
        table = conf.STOMP_ROUTING or "the routing table, which STOMP_ROUTING names,"
        why = f"no rule of {table} covers it"
        return Decision(False, action, destination, None, why)
    rule, requirement, _ = question
    why = intern(f"{rule}: {requirement.name if requirement is not None else ''}")  # one for all
    return Decision(True, action, destination, rule, why, until, rule.sender)
