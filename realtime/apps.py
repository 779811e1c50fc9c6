"""The app, and its system checks."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Final

from channels.layers import get_channel_layer
from django.apps import AppConfig, apps
from django.conf import settings
from django.core import checks
from django.utils.module_loading import import_string

from .conf import conf

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


#: daphne refuses WebSocket messages over 1 MiB, in and out (4.2.2); a MESSAGE has headers that
#: the SEND did not have, and escapes in those that it had.
MAX_FRAME_BYTES = 896 * 1024

#: The clock of the sessions is not finer.
MIN_HEARTBEAT_MS = 1000


def check_limits(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """E002-E005: limits that contradict each other, or what the server can do."""
    from .layer.publishing import MAX_JOINED_BYTES

    body = max(conf.STOMP_MAX_FRAME_BYTES, conf.max_body_bytes)
    errors: list[checks.CheckMessage] = []
    if body > MAX_FRAME_BYTES:
        errors.append(
            checks.Error(
                f"STOMP_MAX_FRAME_BYTES and STOMP_MAX_BODY_BYTES may be {MAX_FRAME_BYTES} at most",
                hint="daphne carries WebSocket messages of up to 1 MiB.",
                id="realtime.E002",
            )
        )
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
    if conf.STOMP_HANDLER_THREADS < 1:
        errors.append(checks.Error("STOMP_HANDLER_THREADS has to be 1 or more", id="realtime.E005"))
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
