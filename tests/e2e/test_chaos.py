"""Whatever comes and goes, nobody loses a message in silence."""

from __future__ import annotations

import random
from pathlib import Path

from tests.e2e.chaos.run import run

SECONDS = 45


async def test_every_client_has_every_message_once_or_was_told_where_and_only_where_it_is_due(
    tmp_path: Path,
) -> None:
    print(await run(tmp_path, SECONDS, random.getrandbits(32)))
