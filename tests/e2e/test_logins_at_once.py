"""A fleet of honest clients logs in at once, after a restart too, and nobody is left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.attack.fleet import CLIENTS, HASHED_SECONDS, run_fleet
from tests.e2e.attack.site import Site

#: Fewer than `make attack` has, and as many seconds for each.
FEWER = 60

#: What a shared machine may add: all hashing is on its processors.
SLACK_SECONDS = 10.0

pytestmark = pytest.mark.daphne


async def test_all_get_in_at_once_after_a_restart_and_soon_when_they_were_cut_off(
    tmp_path: Path,
) -> None:
    within = HASHED_SECONDS * FEWER / CLIENTS + SLACK_SECONDS
    with Site(tmp_path, fleet=FEWER) as site:
        phases = await run_fleet(site, FEWER, within)
    for phase in phases:
        print(phase)
    assert [phase.failures for phase in phases] == [[], [], []]
