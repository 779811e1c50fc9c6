"""ConsoleView: the page at ``/``, on which somebody tries the gateway and sees what it does."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any, Final

from django.conf import settings
from django.views.generic import TemplateView
from redis.asyncio.connection import SSLConnection, parse_url

from realtime.redis.hosts import decode_host

#: Where redis-cli goes without options.
_DEFAULTS: Final = ({"localhost", "127.0.0.1"}, 6379)


class ConsoleView(TemplateView):
    """The console. Where Redis is, is told to staff, and with ``DEBUG`` to everybody."""

    template_name = "console.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        may_know = settings.DEBUG or self.request.user.is_staff
        redis_cli = redis_cli_for(settings.REDIS_URL) if may_know else "redis-cli"
        return super().get_context_data(debug=settings.DEBUG, redis_cli=redis_cli, **kwargs)


def redis_cli_for(url: str) -> str:
    """
    Return redis-cli with the options that lead it to the Redis of a URL.

    A password is never among them: redis-cli asks for it. Behind sentinels there are no options,
    since only the sentinels know where the primary is.
    """
    host = decode_host(url)
    if "sentinels" in host:
        return "redis-cli"
    options = parse_url(host["address"]) if "address" in host else host
    return shlex.join(["redis-cli", *_address(options), *_login(options)])


def _address(options: Mapping[str, Any]) -> list[str]:
    """Return the options that say where it is: a socket, a server, or a node of a cluster."""
    if "path" in options:
        return ["-s", options["path"], *_database(options)]
    if "cluster" in options:
        host, port = options["cluster"][0]
        return ["-c", "-h", host, "-p", str(port)]
    host, port = options.get("host", "localhost"), options.get("port", _DEFAULTS[1])
    if host in _DEFAULTS[0] and port == _DEFAULTS[1]:
        return _database(options)
    return ["-h", host, "-p", str(port), *_database(options)]


def _database(options: Mapping[str, Any]) -> list[str]:
    return ["-n", str(options["db"])] if options.get("db") else []


def _login(options: Mapping[str, Any]) -> list[str]:
    """Return the options that say who connects, and how."""
    tls = options.get("ssl") or options.get("connection_class") is SSLConnection
    user = ["--user", options["username"]] if options.get("username") else []
    ask = ["--askpass"] if options.get("password") else []
    return [*(["--tls"] if tls else []), *user, *ask]
