"""The app, and its system checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib.util import find_spec
from typing import Any, Final, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

from channels.layers import get_channel_layer
from django.apps import AppConfig, apps
from django.conf import settings
from django.core import checks
from django.utils.module_loading import import_string

from .conf import NAMES, Conf, conf

#: The tag of the checks of this app, by which a server may ask for them before it serves.
TAG: Final = "realtime"


class RealtimeConfig(AppConfig):
    name = "realtime"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        if find_spec("daphne") is not None:  # another server needs nothing of this
            from .server.server import install

            install()
        from .nodes.service import serve
        from .sessions.node import services
        from .sessions.revocation import connect_signals

        services.append(serve)
        connect_signals()
        checks.register(check_values, TAG)
        checks.register(check_redis, TAG)
        checks.register(check_routing, TAG)
        checks.register(check_rules, TAG)
        checks.register(check_limits, TAG)
        checks.register(check_layer, TAG)
        checks.register(check_proxies, TAG)
        checks.register(check_jwt, TAG)
        checks.register(check_django, TAG)
        checks.register(check_tracing, TAG)
        if conf.STOMP_TRACING and not check_tracing(None):
            from .tracing import start

            start()


#: Numbers that may be 0, which mostly means none, or any number.
_MAY_BE_0: Final = {
    "STOMP_API_NEW_TOPICS_PER_MINUTE", "STOMP_API_REQUESTS_PER_MINUTE", "STOMP_BYTES_PER_SECOND",
    "STOMP_COMMANDS_PER_SECOND", "STOMP_CONNECTIONS_PER_ADDRESS", "STOMP_CONNECTIONS_PER_USER",
    "STOMP_CONNECTS_PER_MINUTE", "STOMP_DEAD_LETTERS", "STOMP_DRAIN_DELAY_SECONDS",
    "STOMP_DRAIN_SECONDS", "STOMP_FRAMES_PER_SECOND", "STOMP_HEARTBEAT_MS",
    "STOMP_HISTORY_MESSAGES", "STOMP_MAX_REQUESTS_BYTES", "STOMP_NEW_TOPICS_PER_MINUTE",
    "STOMP_RULE_SECONDS", "STOMP_SILENT_CONNECTIONS", "STOMP_SUBSCRIBES_PER_SECOND",
}  # fmt: skip


def check_values(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """E015, E017: settings that can't be what they are; W003: settings that nothing reads."""
    wrong: list[checks.CheckMessage] = [
        checks.Error(
            f"{name} is {getattr(conf, name)!r}: it has to be {wanted}", id="realtime.E017"
        )
        for name, kind in get_type_hints(Conf).items()
        if name in NAMES and (wanted := _wanted(name, kind, getattr(conf, name)))
    ]
    for path in conf.STOMP_AUTHENTICATORS if not wrong else ():
        try:
            import_string(path)
        except ImportError as error:
            text = f"STOMP_AUTHENTICATORS: {path!r} can't be imported: {error}"
            wrong.append(checks.Error(text, id="realtime.E015"))
    return wrong + [
        checks.Warning(
            f"the setting {name} is read by nothing", hint=_meant(name), id="realtime.W003"
        )
        for name in dir(settings)
        if name.startswith("STOMP_") and name not in (*NAMES, "STOMP_SEND_PREFIXES")
    ]


def _wanted(name: str, kind: Any, value: Any) -> str | None:
    """Return what a setting has to be, if it is not."""
    if value is None and type(None) in get_args(kind):
        return None
    kinds = {get_origin(each) or each for each in get_args(kind) or (kind,)}
    if get_origin(kind) is Sequence:
        good = isinstance(value, list | tuple) and all(isinstance(each, str) for each in value)
        return None if good else "a list of texts"
    if kinds & {int, float}:
        right = (int, float) if float in kinds else int
        least = 0 if name in _MAY_BE_0 else 1 if float not in kinds else 1e-3
        if isinstance(value, right) and not isinstance(value, bool) and value >= least:
            return None
        return f"a number of {least:g} or more" if float not in kinds or not least else "above 0"
    words = {bool: "True or False", str: "a text", Mapping: "a dictionary, or None"}
    return next((words[each] for each in kinds & words.keys() if not isinstance(value, each)), None)


def _meant(name: str) -> str | None:
    meant = get_close_matches(name, NAMES, 1)
    return f"Do you mean {meant[0]}?" if meant else None


def check_redis(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """E016: an address of Redis that can't be read."""
    layer = getattr(settings, "CHANNEL_LAYERS", {}).get("default", {})
    ours = layer.get("BACKEND", "").startswith("realtime.")
    hosts = layer.get("CONFIG", {}).get("hosts", ()) if ours else ()
    named = {str(conf.REDIS_URL): "REDIS_URL"}
    return [
        checks.Error(
            f"{named.get(str(host), 'a host in CHANNEL_LAYERS')} can't be read",
            hint="It has to be like redis://user:password@host:6379/0, with what is special in a"
            " password percent-encoded; redis+sentinel:// and redis+cluster:// are there, too.",
            id="realtime.E016",
        )
        for host in {str(each): each for each in (conf.REDIS_URL, *hosts)}.values()
        if not _is_address(host)
    ]


def _is_address(host: Any) -> bool:
    from .redis import create_client

    try:
        create_client(host)
        parts = urlsplit(host if isinstance(host, str) else "")
    except Exception:  # whatever redis-py makes of it; it may repeat a part of the password
        return False
    # redis-py takes a database that is no number for the first.
    database = parts.path.strip("/") if parts.scheme in ("redis", "rediss") else ""
    return not database or database.isdecimal()


def check_routing(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """E001: the routing table that ``STOMP_ROUTING`` names can't be loaded."""
    from .routes.table import routing_table

    try:
        routing_table()
    except Exception as error:
        return [
            checks.Error(
                f"the routing table {conf.STOMP_ROUTING!r} can't be loaded: {error}",
                hint="STOMP_ROUTING names a module with a list called routes.",
                id="realtime.E001",
            )
        ]
    return []


def check_rules(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """E007, E008: an old setting that rules took the place of, and a table without any rule; W001:
    a rule that is never reached."""
    from .routes.rules import Rule
    from .routes.table import routing_table

    errors: list[checks.CheckMessage] = []
    if (prefixes := getattr(settings, "STOMP_SEND_PREFIXES", None)) is not None:
        rules = ", ".join(f'allow("{prefix}**", send=authenticated)' for prefix in prefixes)
        errors.append(
            checks.Error(
                "STOMP_SEND_PREFIXES is not read any more: rules say who may SEND to what",
                hint=f"Remove it, and write into the routing table: {rules}",
                id="realtime.E007",
            )
        )
    try:
        table = routing_table()
    except Exception:  # E001 says what is wrong
        return errors
    if not settings.DEBUG and not table.entries(Rule):
        errors.append(
            checks.Error(
                f"the routing table {conf.STOMP_ROUTING!r} has no rules: clients may do nothing",
                hint='Write who may do what: allow("/topic/news", subscribe=authenticated,'
                " publish=service), with allow and the others from realtime.routes.",
                id="realtime.E008",
            )
        )
    return errors + [
        checks.Warning(
            f"{rule} is never reached: {earlier} before it decides of all that it covers",
            hint="The first rule that covers a destination decides: write the narrower first.",
            id="realtime.W001",
        )
        for rule, earlier in table.never_reached()
    ]


#: The clock of the sessions is not finer.
MIN_HEARTBEAT_MS = 1000


def check_limits(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """E003, E004: limits that contradict each other, or the clock."""
    if any(each.is_serious() for each in check_values(None)):
        return []
    from .layer.publishing import MAX_JOINED_BYTES

    body = max(conf.STOMP_MAX_FRAME_BYTES, conf.max_body_bytes)
    errors: list[checks.CheckMessage] = []
    burst = max(body, MAX_JOINED_BYTES)
    if 2 * burst > conf.STOMP_SEND_BUFFER_BYTES:
        errors.append(
            checks.Error(
                "STOMP_SEND_BUFFER_BYTES is less than two of the largest messages, or bursts",
                hint=f"Set it to {2 * burst} or more, or one of them closes its subscribers.",
                id="realtime.E003",
            )
        )
    if 0 < conf.STOMP_HEARTBEAT_MS < MIN_HEARTBEAT_MS:
        errors.append(
            checks.Error(
                f"STOMP_HEARTBEAT_MS has to be 0, for none, or {MIN_HEARTBEAT_MS} and more",
                id="realtime.E004",
            )
        )
    return errors


def check_layer(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """E006: there is no channel layer, by which what is published reaches every process."""
    try:
        problem = "is not there" if get_channel_layer() is None else ""
    except Exception as error:
        problem = f"can't be made: {error}"
    if not problem:
        return []
    return [
        checks.Error(
            f"the channel layer 'default' {problem}",
            hint="CHANNEL_LAYERS needs a 'default', best realtime.layer.TopicLayer.",
            id="realtime.E006",
        )
    ]


def check_proxies(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """E010: networks of ``TRUSTED_PROXIES`` that can't be read."""
    from .access.addresses import trusted_networks

    try:
        trusted_networks()
    except ValueError as error:
        return [
            checks.Error(
                f"TRUSTED_PROXIES can't be read: {error}",
                hint="It lists addresses and networks, as in 127.0.0.1 and 10.0.0.0/8; or unix.",
                id="realtime.E010",
            )
        ]
    return []


def check_jwt(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """E011: ``STOMP_JWT`` is nonsense."""
    from .access.jwt.settings import read_settings

    if conf.STOMP_JWT is None:
        return []
    try:
        read_settings(conf.STOMP_JWT)
    except ValueError as error:
        return [checks.Error(f"STOMP_JWT: {error}", id="realtime.E011")]
    return []


def check_tracing(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """E012: traces are wanted, and OpenTelemetry is not installed."""
    if not conf.STOMP_TRACING or _is_installed("opentelemetry.exporter.otlp.proto.http"):
        return []
    return [
        checks.Error(
            "STOMP_TRACING is on, and OpenTelemetry is not installed",
            hint="pip install -r requirements-opentelemetry.txt, or the extra of the wheel:"
            ' pip install "stomp-gateway[opentelemetry]". Or set STOMP_TRACING=0.',
            id="realtime.E012",
        )
    ]


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # not even what it is part of
        return False


def check_django(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """E013, E014: an outbox of no database, and a fallback that can't be imported; W002: an outbox
    that no bridge relays."""
    found: list[checks.CheckMessage] = [
        checks.Error(
            f"STOMP_OUTBOX names {alias!r}, which is not in DATABASES",
            hint="It lists aliases of databases, as in ['default'].",
            id="realtime.E013",
        )
        for alias in conf.STOMP_OUTBOX
        if alias not in settings.DATABASES
    ]
    if conf.STOMP_OUTBOX and not apps.is_installed("notifications"):
        found.append(
            checks.Warning(
                "STOMP_OUTBOX is relayed by nobody",
                hint="Add 'notifications' to INSTALLED_APPS, and run manage.py bridge.",
                id="realtime.W002",
            )
        )
    try:
        if conf.STOMP_NOTIFY_FALLBACK:
            import_string(conf.STOMP_NOTIFY_FALLBACK)
    except ImportError as error:
        found.append(
            checks.Error(
                f"STOMP_NOTIFY_FALLBACK can't be imported: {error}",
                hint="It is the dotted path of a function of a user and a content.",
                id="realtime.E014",
            )
        )
    return found
