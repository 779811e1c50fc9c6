"""
The whole gateway in one terminal: ``python -m gateway``, or ``make run``.

Every process of the Procfile runs in it. Where nothing answers at REDIS_URL, and it is on this
machine, an embedded Valkey does. With ``--demo`` (or ``make demo``) a back end runs as well, and so
do the examples.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from realtime import __version__
from realtime.redis import without_password

from .environment import load_env
from .processes.procfile import end_when_asked, run_procfile
from .processes.sockets import check_port
from .processes.supervisor import worker_count
from .processes.valkey import redis_at

BASE_DIR = Path(__file__).resolve().parent.parent

WELCOME = """
  The gateway is starting on http://localhost:{port}

    console     http://localhost:{port}/
    API         http://localhost:{port}/api/notification
    admin       http://localhost:{port}/admin/   (first: make admin)
    WebSocket   ws://localhost:{port}/stomp
    Redis       {redis}{embedded}{workers}

  Try this first: open the console, then in another terminal

    curl -X POST -d '{{"topic": "/topic/toast", "message": "testing API endpoint" }}' \\
         -H 'Content-Type: application/json' localhost:{port}/api/notification
{demo}
  Ctrl-C stops everything.
"""

DEMO = """
  Examples that run, each of less than a hundred lines

    http://localhost:{port}/examples/

  and a service that publishes every five seconds on /topic/examples/ticker, which the
  console hears (a console that you have used before: subscribe to it).

  A back end (examples/backend.py) answers what browsers send. In the console

    SEND to /app/greet                             the answer comes on /topic/greetings
    SUBSCRIBE to /topic/test, SEND to /app/test    the answer comes on /topic/test

  and in a terminal, where the answers come as well

    curl -N 'localhost:{port}/api/events?topic=/topic/greetings&topic=/topic/test'
"""
DEMO_PROCESSES = {
    "backend": "python examples/backend.py --verbose",
    "source": "python examples/dashboard_source.py",
}


def main() -> int:
    """Start everything, and return the exit status once all of it has ended."""
    demo = read_arguments().demo
    load_env()
    if demo:
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "examples.settings")
    end_when_asked()
    host = os.environ.setdefault("HOST", "127.0.0.1")
    port = os.environ.setdefault("PORT", "8080")
    url = os.environ.setdefault("REDIS_URL", "redis://127.0.0.1:6379/0")
    check_port(host, port)
    workers = worker_count()
    with redis_at(url, BASE_DIR / ".data") as embedded:
        print(welcome(port, url, workers, embedded=embedded, demo=demo), flush=True)
        return run_procfile(BASE_DIR / "Procfile", **(DEMO_PROCESSES if demo else {}))


def read_arguments() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m gateway", description="Run the Procfile.")
    parser.add_argument("--version", action="version", version=f"stomp-gateway {__version__}")
    parser.add_argument("--demo", action="store_true", help="with a back end and the examples")
    return parser.parse_args()


def welcome(port: str, url: str, workers: int, *, embedded: bool, demo: bool) -> str:
    """Return what a newcomer needs to know about a gateway that starts."""
    return WELCOME.format(
        port=port,
        redis=without_password(url),
        embedded="   (embedded)" if embedded else "",
        workers=f"\n    workers     {workers}" if workers > 1 else "",
        demo=DEMO.format(port=port) if demo else "",
    )


if __name__ == "__main__":
    sys.exit(main())
