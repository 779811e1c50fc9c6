"""Whatever an attacker does, honest clients are served in order, and the attacker is stopped."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Iterator

import pytest

from tests.e2e.attack.attacks import ATTACKS, Attack
from tests.e2e.attack.run import Plan, run
from tests.e2e.attack.site import Site
from tests.e2e.attack.verdict import MIB, Bounds, Row

#: Deadlines are short and budgets small, so that it can be seen soon that they are kept.
LIMITS = {
    "STOMP_BYTES_PER_SECOND": "1000000",
    "STOMP_BYTES_BURST": "4000000",
    "STOMP_CONNECT_SECONDS": "2",
    "STOMP_HEAD_SECONDS": "2",
    "STOMP_BODY_SECONDS": "2",
    "STOMP_MESSAGE_SECONDS": "2",
    "STOMP_CONNECTIONS_PER_ADDRESS": "100",
}

#: Generous: a machine that others use too is slow at times. `make attack` has the figures.
PLAN = Plan(
    seconds=1.0,
    patience=15.0,
    undisturbed=1.0,
    settle=5.0,
    clients=5,
    scale=0.25,
    together=6,
    bounds=Bounds(wait=5.0, more=5.0, login=10.0, stopped=15.0, memory=150 * MIB),
)

pytestmark = pytest.mark.daphne


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Row]]:
    """What was seen of each attack."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with Site(tmp_path_factory.mktemp("attack"), **LIMITS) as site:
        yield asyncio.run(_rows(site))
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def _rows(site: Site) -> dict[str, Row]:
    return {row.name: row async for row in run(site, ATTACKS.values(), PLAN)}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_it_is_stopped_and_the_honest_get_everything(attack: Attack, rows: dict[str, Row]) -> None:
    assert rows[attack.name].failures == [], rows[attack.name]
