"""
The environment of the tests: a plugin that pytest loads before Django's settings.

It starts a real Valkey on a free port, so that nobody's own Redis is touched.
"""

from __future__ import annotations

import os

from realtime.testing.processes import free_port
from realtime.testing.valkey import start_valkey

__all__ = ["free_port", "valkey"]

valkey = start_valkey()

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
