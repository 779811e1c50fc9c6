"""
A process that relays the outbox without a lease: ``python -m tests.kit.outbox_relay``.

Again and again it takes over, and goes on until it is told that another has done so.
"""

from __future__ import annotations

import contextlib
import os
import time

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.kit.outbox_settings")

import django

django.setup()

import redis  # noqa: E402
from django.conf import settings  # noqa: E402
from django.db import DatabaseError  # noqa: E402

from realtime.django.outbox import relay  # noqa: E402
from realtime.redis import Fenced  # noqa: E402


def take_over(client: redis.Redis) -> None:
    """Relay until somebody else does; a database in one file may be locked for too long."""
    token = int(client.incr("token"))
    with contextlib.suppress(Fenced, DatabaseError):
        while True:
            if relay("default", "outbox:default", token):
                print("relayed", flush=True)
            else:
                time.sleep(0.01)


if __name__ == "__main__":
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        while True:
            take_over(client)
