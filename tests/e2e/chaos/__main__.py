"""
``python -m tests.e2e.chaos --seconds 600 --seed 7``: chaos, and what is true after it.

200 clients follow some topics on two gateways, come and go; publishers count. Meanwhile Redis is
killed and comes back with its data, with an older copy of them, or with nothing, or a replica that
lags takes over; its connections are killed, it freezes; gateways are killed and come back. In the
end everything has to fit the model: see :mod:`tests.e2e.chaos.model`.

The seed decides what happens and in which order, not what the machine makes of it.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import tests.kit.environment  # noqa: F401  # before Django's settings

if __name__ == "__main__":
    import django

    django.setup()

    from tests.e2e.chaos.run import Failed, run

    parser = argparse.ArgumentParser(description="Let chaos rule, then check every client.")
    parser.add_argument("--seconds", type=float, default=600.0, help="how long (default: 600)")
    parser.add_argument("--seed", type=int, help="what happens (default: random)")
    options = parser.parse_args()
    seed = random.SystemRandom().getrandbits(32) if options.seed is None else options.seed
    with TemporaryDirectory(prefix="gateway-chaos-") as folder:
        try:
            print(asyncio.run(run(Path(folder), options.seconds, seed)))
        except Failed as failure:
            sys.exit(str(failure))
