"""The source of the dashboard: a service with nothing but redis-py."""

from __future__ import annotations

import itertools
import json
import math
import os
import random
import time
from contextlib import suppress

from redis import Redis, RedisError


def measure(number: int) -> dict[str, float]:
    """Return the numbers of a second, which has one itself; yours would be real."""
    wave = math.sin(number / 10) + random.uniform(-0.2, 0.2)
    requests, latency = round(220 + 80 * wave), round(31 + 9 * wave, 1)
    errors = random.choice([0, 0, 1, 3])
    return {"number": number, "requests": requests, "latency": latency, "errors": errors}


def main() -> None:
    redis = Redis.from_url(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0"))
    for number in itertools.count():
        numbers = measure(number)
        with suppress(RedisError):  # it is away: the next second comes
            redis.publish("EXAMPLE_NUMBERS", json.dumps(numbers))
            if number % 5 == 0:  # for the console
                redis.publish("EXAMPLE_TICKER", f"{numbers['requests']} requests a second")
        time.sleep(1)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
