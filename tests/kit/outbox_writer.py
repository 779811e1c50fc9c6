"""
A process that writes to the outbox until SIGTERM: ``python -m tests.kit.outbox_writer NAME``.

Each third of its transactions is rolled back. Each has some numbers, which go to its topics by
turns; it says how many numbers were committed.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import threading

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.kit.outbox_settings")

import django

django.setup()

from django.db import transaction  # noqa: E402

from realtime import publish_on_commit  # noqa: E402

TOPICS, A_TRANSACTION = 3, 4


def topic_of(name: str, number: int) -> str:
    return f"/topic/outbox/{name}/{number % TOPICS}"


def write(name: str) -> None:
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    committed = 0
    for number in itertools.count():
        rolled_back = number % 3 == 2
        with transaction.atomic():
            for each in range(A_TRANSACTION):
                body = "never" if rolled_back else str(committed + each)
                publish_on_commit(topic_of(name, committed + each), body, outbox=True)
            transaction.set_rollback(rolled_back)
        committed += 0 if rolled_back else A_TRANSACTION
        if stopping.wait(0.005):
            break
    print(committed, flush=True)


if __name__ == "__main__":
    write(sys.argv[1])
