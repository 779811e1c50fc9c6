"""
Acts: what operators do to sessions, on whichever nodes those are, and that it is written down.

::

    the admin, the API ──> act(...) ──> the nodes of the sessions
                              └──> who did what to whom, and why: for each session an entry of the
                                   admin's log, and one line of the audit log
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from django.contrib.admin.models import CHANGE, LogEntry
from django.db import DatabaseError
from redis import RedisError

from realtime.access import audit
from realtime.access.limits import is_outage, outage
from realtime.models import SessionRecord

from .figures import names_of
from .inquiry import Answers, ask

#: All acts, each with what the admin's log says of it; :mod:`.answers` has their arguments. Each
#: has its permission, ``realtime.NAME_session``.
ACTS: Final[Mapping[str, Callable[[Mapping[str, Any]], str]]] = {
    "disconnect": lambda asked: f"Disconnected, {_then(asked['reconnect'])}: {asked['reason']}",
    "unsubscribe": lambda asked: f"Unsubscribed from {asked['topic']}: {asked['reason']}",
    "message": lambda asked: f"Sent to {asked['topic']}: {asked['text']}",
}


class Operator(NamedTuple):
    """Who does it: a user of Django, who is logged in unless DEBUG is on, and from where."""

    user: Any
    address: str


@dataclass
class Outcome:
    """
    What became of sessions.

    Args:
        done: To which it was done.
        untouched: Those whose nodes answered, and did nothing.
        unknown: Those whose nodes did not answer: it may have been done, or not.
        missing: These nodes.
    """

    done: list[SessionRecord] = field(default_factory=list)
    untouched: list[SessionRecord] = field(default_factory=list)
    unknown: list[SessionRecord] = field(default_factory=list)
    missing: Sequence[str] = ()


def act(
    what: str, records: Sequence[SessionRecord], operator: Operator, **arguments: Any
) -> Outcome:
    """
    Do one of :data:`ACTS` to sessions, and write down that it was done, or may have been.

    Args:
        records: The sessions; all nodes are asked for those whose node is not known.

    Raises:
        redis.RedisError: If Redis is away.
    """
    nodes = {record.node_id for record in records}
    ids = [record.id for record in records]
    try:
        answers = ask(what, nodes=None if None in nodes else nodes, ids=ids, **arguments)
    except RedisError:
        _write_down(what, Outcome(unknown=list(records)), operator, arguments)
        raise
    outcome = _outcome(records, answers)
    _write_down(what, outcome, operator, arguments)
    return outcome


def _outcome(records: Sequence[SessionRecord], answers: Answers) -> Outcome:
    done = {id for answer in answers.by_node.values() for id in answer["done"]}
    outcome = Outcome(missing=answers.missing)
    for record in records:
        if record.id in done:
            outcome.done.append(record)
        elif answers.missing if record.node_id is None else record.node_id in answers.missing:
            outcome.unknown.append(record)
        else:
            outcome.untouched.append(record)
    return outcome


def _write_down(
    what: str, outcome: Outcome, operator: Operator, arguments: Mapping[str, Any]
) -> None:
    summary = ACTS[what](arguments)
    unsure = f"no answer from {names_of(outcome.missing)}" if outcome.missing else "Redis is away"
    about = {name: arguments[name] for name in ("topic", "reason") if name in arguments}
    for records, doubt in ((outcome.done, ""), (outcome.unknown, unsure)):
        if not records:
            continue
        said = f"{summary} ({doubt})" if doubt else summary
        audit.record(
            what,
            user=operator.user.get_username(),
            address=operator.address,
            **about,
            **({"doubt": doubt} if doubt else {}),
            sessions=",".join(record.id for record in records),  # last: it may be cut
        )
        if operator.user.pk is not None:  # with DEBUG it may be nobody, who has no entries
            _enter(operator, records, said)


def _enter(operator: Operator, records: list[SessionRecord], said: str) -> None:
    """Make entries of the admin's log; it is done, though the database be away."""
    try:
        LogEntry.objects.log_actions(operator.user.pk, records, CHANGE, said)
    except DatabaseError as error:
        if not is_outage(error):
            raise
        outage.refuse(error)


def _then(reconnect: bool) -> str:
    return "it may reconnect" if reconnect else "it is asked to stay away"
