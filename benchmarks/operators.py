"""
Operators: how long answers about 10 000 sessions on two nodes take, and how soon they are right::

    python -m benchmarks.operators [--sessions 10000]

It counts what idle sessions write to the database, too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sqlite3
import statistics
import time
from collections.abc import Callable
from http.client import HTTPConnection
from typing import Any, Final
from urllib.parse import urlsplit

from .clients import Client, connect
from .load import in_batches
from .servers import Server, Site, gateway

TOPICS: Final = 100
ROUNDS: Final = 7
MOST_SECONDS: Final = 0.5

#: Seconds in which idle sessions are looked at.
IDLE_SECONDS: Final = 60

#: What may be asked, as names and calls of it, once Django is set up.
Questions = dict[str, Callable[[], Any]]


def questions(sessions: int) -> Questions:
    """Return what operators ask, each with a check that the answer is right."""
    from realtime.nodes.found import find_presence, find_sessions, find_topics
    from realtime.nodes.overview import overview

    def checked(what: Any, count: int) -> None:
        assert what == count, f"{what}, not {count}"

    some = sessions // TOPICS
    return {
        "overview": lambda: checked(overview()["sums"]["sessions"], sessions),
        "sessions, the newest 50": lambda: checked(find_sessions(limit=50).count, sessions),
        "sessions of a topic": lambda: checked(find_sessions(topic=topic(7)).count, some),
        "sessions, by text": lambda: checked(find_sessions(text="operators/8").count, 11 * some),
        "sessions, slow": lambda: checked(find_sessions(slow=True).count, 0),
        "topics": lambda: checked(find_topics(limit=50).rows[0]["subscribers"], some),
        "presence": lambda: checked(find_presence(topic(9)).count, some),
    }


class Pages:
    """
    What an operator asks over HTTP: the API, with a token, and the admin, with a cookie.

    Args:
        address: The host and port of a node.
    """

    def __init__(self, address: str) -> None:
        from django.contrib.auth.models import User
        from django.test import Client
        from rest_framework.authtoken.models import Token

        operator = User.objects.create_superuser("operator", password=None)
        browser = Client()
        browser.force_login(operator)
        self._address = address
        self._headers = {
            "Authorization": f"Bearer {Token.objects.create(user=operator)}",
            "Cookie": f"sessionid={browser.cookies['sessionid'].value}",
        }

    def get(self, path: str) -> bytes:
        """Return an answer, over a connection of its own."""
        connection = HTTPConnection(self._address, timeout=30)
        header = "Authorization" if path.startswith("/api/") else "Cookie"
        connection.request("GET", path, headers={header: self._headers[header]})
        response = connection.getresponse()
        content = response.read()
        connection.close()
        assert response.status == 200, f"{path}: {response.status}"
        return content

    def questions(self, sessions: int) -> Questions:
        """Return what is asked, each with a check that the answer is right."""
        from django.contrib.admin.utils import quote

        def count(path: str, expected: int) -> Callable[[], None]:
            def ask() -> None:
                answer = json.loads(self.get(f"/api/v1/{path}"))["count"]
                assert answer == expected, f"{path}: {answer}, not {expected}"

            return ask

        def page(path: str, text: str) -> Callable[[], None]:
            def ask() -> None:
                assert text in self.get(f"/admin/{path}").decode(), path

            return ask

        some = sessions // TOPICS
        list_of = "realtime/sessionrecord/"
        return {
            "API, sessions": count("sessions?limit=50", sessions),
            "API, sessions of a topic": count(f"sessions?topic={topic(7)}", some),
            "API, slow sessions": count("sessions?slow=true", 0),
            "API, topics": count("topics?limit=50", TOPICS),
            "API, presence": count(f"presence?topic={topic(9)}", some),
            "API, nodes": lambda: self.get("/api/v1/nodes") and None,
            "admin, overview": page("", f"{sessions:,}"),
            "admin, sessions": page(list_of, str(sessions)),
            "admin, sessions by topic": page(f"{list_of}?q={topic(7)}", topic(7)),
            "admin, slow sessions": page(f"{list_of}?slow=1", "0 sessions"),
            "admin, topics": page("realtime/topic/", topic(7)),
            "admin, a topic": page(f"realtime/topic/{quote(topic(7))}/change/", str(some)),
            "admin, nodes": page("realtime/noderecord/", "Memory"),
        }


def topic(number: int) -> str:
    return f"/topic/operators/{number}"


async def open_sessions(server: Server, count: int) -> list[Client]:
    clients: list[Client] = []
    while len(clients) < count:
        numbers = range(len(clients), min(count, len(clients) + 20))
        clients += await asyncio.gather(
            *(connect(server.stomp[each % len(server.stomp)], {}) for each in numbers)
        )
    await in_batches(
        client.subscribe(topic(number % TOPICS)) for number, client in enumerate(clients)
    )
    return clients


async def timed(call: Callable[[], Any]) -> tuple[float, float]:
    """Return the median and the most of how long a call takes, in milliseconds."""
    taken = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        await asyncio.to_thread(call)
        taken.append(1000 * (time.perf_counter() - began))
    return statistics.median(taken), max(taken)


async def seconds_until(right: Callable[[], Any], most: float) -> float:
    """Return after how many seconds a check holds."""
    began = time.monotonic()
    while True:
        try:
            await asyncio.to_thread(right)
        except AssertionError:
            if time.monotonic() - began > most:
                raise
            await asyncio.sleep(0.1)
        else:
            return time.monotonic() - began


def rows_in(path: str) -> int:
    """Return how many sessions the database has."""
    with sqlite3.connect(path) as database:
        count: int = database.execute("SELECT count(*) FROM realtime_sessionrecord").fetchone()[0]
    database.close()
    return count


async def settled(path: str, count: int) -> None:
    async with asyncio.timeout(60):
        while rows_in(path) != count:
            await asyncio.sleep(0.5)


async def run(site: Site, sessions: int) -> None:
    server = gateway(site, nodes=2, debug=True)
    path = setup_django(site)
    print(f"{sessions} sessions on two nodes", flush=True)
    clients = await open_sessions(server, sessions)
    await settled(path, sessions)
    await asyncio.sleep(3)  # the next reports
    pages = await asyncio.to_thread(Pages, urlsplit(server.stomp[0]).netloc)
    for name, call in {**questions(sessions), **pages.questions(sessions)}.items():
        median, most = await timed(call)
        print(f"  {name:<28}{median:8.1f} ms, {most:8.1f} ms at most", flush=True)
        assert most < 1000 * MOST_SECONDS, name
    await idle(path, sessions)
    for client in clients[: sessions // 2]:
        client.close()
    await report_right("half of them left", sessions - sessions // 2, path, 5)
    left = await asyncio.to_thread(kill_a_node)
    await report_right("a node was killed", left, path, 30)


def kill_a_node() -> int:
    """Kill a node, and return how many sessions the others have."""
    from realtime.nodes.overview import overview

    killed, *others = overview()["nodes"]
    os.kill(killed["pid"], signal.SIGKILL)
    return sum(node["sessions"] for node in others)


async def idle(path: str, sessions: int) -> None:
    """Count what is written while nothing happens, in a trigger of the database's own."""
    with sqlite3.connect(path) as database:
        database.executescript(
            "CREATE TABLE writes (what TEXT);"
            + "".join(
                f"CREATE TRIGGER {table}_{event} AFTER {event} ON realtime_{table}"
                f" BEGIN INSERT INTO writes VALUES ('{table}'); END;"
                for table in ("sessionrecord", "noderecord")
                for event in ("INSERT", "UPDATE", "DELETE")
            )
        )
    database.close()
    await asyncio.sleep(IDLE_SECONDS)
    with sqlite3.connect(path) as database:
        written = database.execute("SELECT count(*) FROM writes").fetchone()[0]
    database.close()
    per_session = written / sessions / (IDLE_SECONDS / 60)
    print(f"  {'idle: writes':<28}{per_session:8.4f} a session and minute ({written})", flush=True)
    assert per_session <= 0.1


async def report_right(what: str, count: int, path: str, most: float) -> None:
    from realtime.nodes.found import find_sessions
    from realtime.nodes.overview import overview

    def right() -> None:
        counts = (overview()["sums"]["sessions"], find_sessions(limit=1).count, rows_in(path))
        assert counts == (count, count, count), counts

    seconds = await seconds_until(right, most)
    print(f"  {what + ': right after':<28}{seconds:8.1f} s ({count} are left)", flush=True)
    assert seconds <= most


def setup_django(site: Site) -> str:
    """Let this process ask the nodes; return the path of their database."""
    import django

    path = next(site.directory.glob("*.sqlite3"))
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "gateway.settings",
        "LOG_LEVEL": "WARNING",
        "DEBUG": "1",
        "REDIS_URL": site.redis_url,
        "REDIS_PREFIX": path.stem,
        "DATABASE_URL": f"sqlite:///{path}",
    }
    django.setup()
    return str(path)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what operators wait for.")
    parser.add_argument("--sessions", type=int, default=10_000)
    options = parser.parse_args()
    with Site() as site:
        asyncio.run(run(site, options.sessions))


if __name__ == "__main__":
    main()
