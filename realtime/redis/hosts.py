"""
Hosts: where Redis is, as one string or as channels_redis has it.

===========================================================  ====================================
``redis://user:password@host:6379/0``                        one server
``redis+sentinel://user:password@host:26379,host/name/0``    the primary that sentinels call so
``redis+cluster://user:password@host:6379,host``             a cluster, known by some of its nodes
===========================================================  ====================================

``rediss`` in place of ``redis`` is with TLS. Options of the connection follow after ``?``, as in
redis-py's URLs; user and password are those of Redis, and ``sentinel_username`` and
``sentinel_password`` those of the sentinels.
"""

from __future__ import annotations

from typing import Any, Final

from redis.asyncio.connection import parse_url

#: Options of a connection, and one of: ``address``, a URL of redis-py's; ``sentinels`` and
#: ``master_name``; ``cluster``, some of its nodes; ``host`` and ``port``.
Host = dict[str, Any]

_SENTINEL_PORT: Final = 26379
_SERVER_PORT: Final = 6379


def decode_host(host: Any) -> Host:
    """
    Return how to reach one Redis, of any kind.

    Raises:
        ValueError: If it is a URL of no such form.
    """
    if isinstance(host, tuple | list):
        return {"host": host[0], "port": host[1]}
    options = dict(host) if isinstance(host, dict) else {"address": host}
    scheme, _, rest = str(options.get("address", "")).partition("://")
    base, _, kind = scheme.partition("+")
    if not kind:
        return options
    del options["address"]
    if kind == "sentinel":
        return _decode_sentinel(base, rest) | options
    if kind == "cluster":
        return _decode_cluster(base, rest) | options
    raise ValueError(f"{scheme}:// does not lead to a Redis")


def address_shown(host: Any) -> str:
    """Return where a host is, fit to be shown: no user, no password, no option."""
    options = decode_host(host)
    if "address" in options:
        options = dict(parse_url(options["address"]))
    if "path" in options:
        return str(options["path"])
    nodes = options.get("sentinels") or options.get("cluster") or [_node(options)]
    named = f"{options['master_name']} by " if "master_name" in options else ""
    return named + ",".join(f"{_bracketed(name)}:{port}" for name, port in nodes)


def _node(options: Host) -> tuple[str, int]:
    return options.get("host", "localhost"), options.get("port", _SERVER_PORT)


def _bracketed(name: str) -> str:
    return f"[{name}]" if ":" in name else name


def _decode_sentinel(scheme: str, rest: str) -> Host:
    authority, _, path = rest.partition("/")
    path, _, query = path.partition("?")
    name, _, database = path.partition("/")
    if not name:
        raise ValueError("the name of the primary is missing: redis+sentinel://host:26379/name/0")
    nodes, options = _decode_nodes(scheme, authority, f"/{database}?{query}", _SENTINEL_PORT)
    names = [option for option in options if option.startswith("sentinel_")]
    login = {option.removeprefix("sentinel_"): options.pop(option) for option in names}
    return {"sentinels": nodes, "master_name": name, "sentinel_kwargs": login, **options}


def _decode_cluster(scheme: str, rest: str) -> Host:
    authority, slash, path = rest.partition("/")
    nodes, options = _decode_nodes(scheme, authority, slash + path, _SERVER_PORT)
    if options.pop("db", 0):
        raise ValueError("a cluster has the database 0 only")
    return {"cluster": nodes, **options}


def _decode_nodes(
    scheme: str, authority: str, rest: str, port: int
) -> tuple[list[tuple[str, int]], Host]:
    """Return the nodes between ``//`` and ``/``, and what else such a URL says."""
    login, at, names = authority.rpartition("@")
    parsed = [parse_url(f"{scheme}://{name}") for name in names.split(",")]
    nodes = [(each.get("host", "localhost"), each.get("port", port)) for each in parsed]
    options: Host = dict(parse_url(f"{scheme}://{login}{at}host{rest}"))
    del options["host"]
    if options.pop("connection_class", None) is not None:
        options["ssl"] = True
    return nodes, options
