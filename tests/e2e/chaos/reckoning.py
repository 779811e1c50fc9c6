"""What became of all: figures, and what does not fit the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from tests.e2e.chaos.clients import Client
from tests.e2e.chaos.model import Topic

#: How many of those who come back have to get everything, or nothing much was tried.
TRUE_SHARE: Final = 0.8

#: What a gateway may say while Redis is away, or when it ends.
ERRORS: Final = frozenset({"unavailable", "restart"})


def summary_of(topics: Sequence[Topic], clients: Sequence[Client]) -> str:
    """Return the figures."""
    resumes = _resumes(clients)
    errors = sum((client.errors for client in clients), Counter())
    told = sum(step.kind in ("lost", "untold") for client in clients for step in client.steps)
    return (
        f"{sum(len(topic.acknowledged) for topic in topics)} messages acknowledged,"
        f" {sum(len(topic.unknown) for topic in topics)} not,"
        f" {sum(client.messages for client in clients)} delivered;"
        f" {resumes.total()} resumes, {_share(resumes):.0%} true;"
        f" {told} times told that messages are lost; errors {dict(errors)}"
    )


def faults_of(topics: Sequence[Topic], clients: Sequence[Client], true_share: float) -> list[str]:
    """Return everything that does not fit."""
    faults = [f"{topic.name}: {fault}" for topic in topics for fault in topic.faults()]
    for client in clients:
        found = list(_faults(client))
        faults += [f"{client.name}, {client.topic.name}: {each}" for each in found]
        faults += [f"  {each}" for each in client.recent if found]
    resumes = _resumes(clients)
    if _share(resumes) < true_share:
        faults.append(f"few resumes were true: {resumes}")
    return faults


def is_behind(client: Client) -> bool:
    """Return whether a client is not where its topic is."""
    return client.position is None or client.topic.position != client.position


def _faults(client: Client) -> Iterator[str]:
    topic = client.topic
    for step in client.steps:
        fault = topic.fault(step)
        if fault is not None:
            yield f"{fault}: {step}"
    if client.late - topic.unknown:
        yield f"came late, or twice: {sorted(client.late - topic.unknown)}"
    if is_behind(client):
        yield f"is at {client.position}, not at the end, {topic.position}"
    if not ERRORS.issuperset(client.errors):
        yield f"got errors: {dict(client.errors)}"


def _resumes(clients: Sequence[Client]) -> Counter[str]:
    return sum((client.resumes for client in clients), Counter())


def _share(resumes: Counter[str]) -> float:
    return resumes["resumed"] / max(1, resumes.total())
