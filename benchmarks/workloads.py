"""What is measured, on which servers, and what has to come out of it: tables, no code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

DAPHNE: Final = "gateway, daphne"
UVICORN: Final = "gateway, uvicorn"
NO_HISTORY: Final = "gateway, history off"
NO_RULES: Final = "gateway, no rules"
RULES: Final = "gateway, 20 rules"
BRIDGE: Final = "bridge"
RABBITMQ: Final = "RabbitMQ Web STOMP"
CENTRIFUGO_REDIS: Final = "Centrifugo, Redis"
CENTRIFUGO_MEMORY: Final = "Centrifugo, memory"
SPRING: Final = "Spring's simple broker"
CORE: Final = "plain Channels, core layer"
PUBSUB: Final = "plain Channels, pub/sub layer"
FLOOR: Final = "the kernel's send()"
VIEW: Final = "plain DRF view"
BARE: Final = "daphne's bare HTTP"

#: Servers that are built here, where there are tools for it.
PEERS: Final = (CENTRIFUGO_REDIS, CENTRIFUGO_MEMORY, SPRING)


@dataclass(frozen=True)
class Workload:
    """
    One table: ``load`` names the function of the load generator.

    ``fresh`` restarts the server before each measurement and measures once, for what hardly
    varies, and counts instead of rates matter; ``extra`` are figures of the result that get
    columns, with their formats; not every server has each.
    """

    title: str
    unit: str
    load: str
    servers: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict)
    of_server: dict[str, dict[str, Any]] = field(default_factory=dict)
    extra: dict[str, str] = field(default_factory=dict)
    least_seconds: float = 0
    fresh: bool = False


LATENCY: Final = {
    "load": "latency",
    "servers": (DAPHNE, UVICORN, RABBITMQ, *PEERS),
    "unit": "deliveries",
    "extra": {
        "p50": "{:.2f} ms",
        "p99": "{:.2f} ms",
        "p99.9": "{:.2f} ms",
        "longest_block": "{:.1f} ms",
        "cut_off": "{:.0f} of 5",
    },
    "least_seconds": 6,
}
CROWD: Final = {"sessions": 1000, "rooms": 100, "rate": 10, "firehose_bytes": 60_000}

WORKLOADS: Final[dict[str, Workload]] = {
    "fan-out": Workload(
        "Fan-out: 10 publishers, 10 messages under way, 300 subscribers, 100 bytes",
        "deliveries",
        "fan_out",
        (FLOOR, DAPHNE, NO_HISTORY, UVICORN, RABBITMQ, *PEERS, CORE, PUBSUB),
        {"subscribers": 300, "window": 10, "publishers": 10},
        extra={"bytes": "{:.0f} B"},
    ),
    "fan-out-one": Workload(
        "Fan-out: one message at a time, 300 subscribers, 100 bytes",
        "deliveries",
        "fan_out",
        (FLOOR, DAPHNE, NO_HISTORY, RABBITMQ, *PEERS),
        {"subscribers": 300, "window": 1},
        extra={"bytes": "{:.0f} B"},
    ),
    "fan-out-5000": Workload(
        "Fan-out: one publisher, 5 000 subscribers, 100 bytes",
        "deliveries",
        "fan_out",
        (FLOOR, DAPHNE, RABBITMQ, *PEERS),
        {"subscribers": 5000, "window": 4},
        extra={"bytes": "{:.0f} B"},
    ),
    "one-to-one": Workload(
        "One to one: one publisher, 300 topics with one subscriber each",
        "messages",
        "one_to_one",
        (DAPHNE, NO_HISTORY, UVICORN, RABBITMQ, *PEERS, CORE, PUBSUB),
        {"topics": 300, "window": 100},
        extra={"redis_us": "{:.1f} us of Redis"},
    ),
    "one-to-one-4": Workload(
        "One to one: four publishers, 300 topics with one subscriber each",
        "messages",
        "one_to_one",
        (DAPHNE, NO_HISTORY, RABBITMQ, *PEERS),
        {"topics": 300, "window": 100, "publishers": 4},
        extra={"redis_us": "{:.1f} us of Redis"},
    ),
    "rules-fan-out": Workload(
        "Rules, fan-out: one publisher, 300 subscribers, 100 bytes",
        "deliveries",
        "fan_out",
        (NO_RULES, RULES),
        {"subscribers": 300, "window": 20},
    ),
    "rules-one-to-one": Workload(
        "Rules, one to one: one publisher, 300 topics with one subscriber each",
        "messages",
        "one_to_one",
        (NO_RULES, RULES),
        {"topics": 300, "window": 100},
    ),
    "rules-subscribe": Workload(
        "Rules, SUBSCRIBE: each to another topic, each asks the database",
        "subscriptions",
        "subscriptions",
        (NO_RULES, RULES),
        {"window": 20},
    ),
    "latency": Workload(
        "Latency: 1 000 sessions in 100 rooms, each session gets 10 messages/s",
        options={**CROWD, "stopped": 0},
        **LATENCY,
    ),
    "latency-stopped": Workload(
        "Latency of the others, while one client in 200 has stopped reading",
        options={**CROWD, "stopped": 5},
        **{**LATENCY, "servers": (DAPHNE, UVICORN, RABBITMQ, CENTRIFUGO_REDIS, CENTRIFUGO_MEMORY)},
    ),
    "send": Workload(
        "SEND to /app/greet, with receipts, into a Redis channel",
        "messages",
        "send_to_channel",
        (DAPHNE, UVICORN),
        {"window": 100},
    ),
    "send-stream": Workload(
        "SEND to /app/test, with receipts, into a Redis stream",
        "messages",
        "send_to_stream",
        (DAPHNE,),
        {"window": 100},
    ),
    "redis": Workload(
        "Redis channel to topic, one subscriber; the bridge has a core, all else the other",
        "messages",
        "channel_to_topic",
        (BRIDGE,),
        {"window": 1000},
    ),
    "redis-stream": Workload(
        "Redis stream to topic, one subscriber; the bridge has a core, all else the other",
        "messages",
        "stream_to_topic",
        (BRIDGE,),
        {"window": 1000},
    ),
    "post": Workload(
        "POST one notification, 8 keep-alive connections",
        "requests",
        "post",
        (DAPHNE, *PEERS, VIEW, BARE),
        {"path": "/api/notification", "batch": 0, "connections": 8},
        of_server={BARE: {"path": "/bare"}},
    ),
    "post-64": Workload(
        "POST one notification, 64 keep-alive connections",
        "requests",
        "post",
        (DAPHNE, *PEERS),
        {"path": "/api/notification", "batch": 0, "connections": 64},
    ),
    "post-list": Workload(
        "POST a list of 100 notifications, 4 keep-alive connections",
        "notifications",
        "post",
        (DAPHNE, *PEERS),
        {"path": "/api/notification", "batch": 100, "connections": 4},
        of_server={CENTRIFUGO_REDIS: {"parallel": True}},
    ),
    "connections": Workload(
        "Connections: WebSocket handshake, CONNECT, SUBSCRIBE",
        "connections",
        "connections",
        (DAPHNE, UVICORN, RABBITMQ, *PEERS, CORE),
        {"at_once": 20, "destination": "/topic/connections"},
    ),
    "reconnects": Workload(
        "Reconnects: 10 000 sessions, all cut at once, miss 3 messages and resume, 300 at once",
        "sessions",
        "reconnects",
        (DAPHNE, CENTRIFUGO_REDIS),
        {"sessions": 10_000, "topics": 100, "at_once": 300, "missed": 3},
        extra={"seconds": "{:.1f} s", "us": "{:,.0f} us each", "refused": "{:.0f}"},
        fresh=True,
    ),
    "memory": Workload(
        "Memory of an idle session with one subscription, 10 000 on one process",
        "sessions",
        "idle_memory",
        (DAPHNE, UVICORN, RABBITMQ, *PEERS),
        {"sessions": 10_000},
        extra={"KiB_each": "{:.1f} KiB"},
        fresh=True,
    ),
    "processes": Workload(
        "Publishing while 1, 2, 4 gateway processes (on one core) hear the topic",
        "publishes",
        "processes",
        ("1 process, history off", "1 process", "2 processes", "4 processes"),
        {"window": 100},
        extra={"redis_us": "{:.1f} us of Redis"},
    ),
}

#: Medians of one run: workload, server, figure.
Figures = Mapping[str, Mapping[str, Mapping[str, float]]]


@dataclass(frozen=True)
class Goal:
    """Something that has to come out: ``value`` at least, or at most, ``bound``."""

    text: str
    value: Callable[[Figures], float]
    bound: float
    form: str = "{:,.1f} x"
    at_most: bool = False

    def met(self, value: float) -> bool:
        return value <= self.bound if self.at_most else value >= self.bound


def _ratio(workload: str, of: str, to: str, figure: str = "rate") -> Callable[[Figures], float]:
    return lambda figures: figures[workload][of][figure] / figures[workload][to][figure]


def _figure(workload: str, server: str, figure: str = "rate") -> Callable[[Figures], float]:
    return lambda figures: figures[workload][server][figure]


GOALS: Final = (
    Goal("fan-out, of RabbitMQ's rate", _ratio("fan-out", DAPHNE, RABBITMQ), 5),
    Goal("fan-out, of the plain consumer's rate", _ratio("fan-out", DAPHNE, CORE), 15),
    Goal(
        "fan-out, CPU per delivery, of the kernel's",
        _ratio("fan-out", DAPHNE, FLOOR, "us"),
        2,
        at_most=True,
    ),
    Goal("one to one, of RabbitMQ's rate", _ratio("one-to-one", DAPHNE, RABBITMQ), 2),
    Goal(
        "fan-out, of the rate without history",
        _ratio("fan-out", DAPHNE, NO_HISTORY),
        0.9,
        "{:,.2f} x",
    ),
    Goal(
        "publishing, CPU of that without history",
        _ratio("processes", "1 process", "1 process, history off", "us"),
        1.5,
        "{:,.2f} x",
        at_most=True,
    ),
    *(
        Goal(
            f"rules, {name}: CPU of that without",
            _ratio(f"rules-{name}", RULES, NO_RULES, "us"),
            1.03,
            "{:,.3f} x",
            at_most=True,
        )
        for name in ("fan-out", "one-to-one")
    ),
    Goal(
        "SUBSCRIBE by a permission",
        _figure("rules-subscribe", RULES, "us"),
        1000,
        "{:,.0f} us",
        at_most=True,
    ),
    Goal("Redis channel to topic", _figure("redis", BRIDGE), 20_000, "{:,.0f}/s"),
    Goal("Redis stream to topic", _figure("redis-stream", BRIDGE), 20_000, "{:,.0f}/s"),
    Goal("SEND to a Redis channel", _figure("send", DAPHNE), 10_000, "{:,.0f}/s"),
    Goal("SEND to a Redis stream", _figure("send-stream", DAPHNE), 10_000, "{:,.0f}/s"),
    Goal("POST a list of 100", _figure("post-list", DAPHNE), 20_000, "{:,.0f} notifications/s"),
    Goal("POST one, of the plain view's rate", _ratio("post", DAPHNE, VIEW), 1.3, "{:,.2f} x"),
    Goal(
        "memory of an idle session",
        _figure("memory", DAPHNE, "KiB_each"),
        12,
        "{:,.1f} KiB",
        at_most=True,
    ),
    Goal("sessions on one process", _figure("memory", DAPHNE, "count"), 10_000, "{:,.0f}"),
    *(
        Goal(f"{name} rate", _ratio(workload, DAPHNE, server), bound, "{:,.2f} x")
        for name, workload, server, bound in (
            ("fan-out, of Centrifugo memory's", "fan-out", CENTRIFUGO_MEMORY, 1.2),
            ("one to one, of Centrifugo Redis's", "one-to-one", CENTRIFUGO_REDIS, 2.5),
            ("one to one, of Spring's", "one-to-one", SPRING, 1),
            ("POST one on 8, of Centrifugo Redis's", "post", CENTRIFUGO_REDIS, 0.7),
            ("POST one on 64, of Centrifugo Redis's", "post-64", CENTRIFUGO_REDIS, 1),
            ("POST a list, of Centrifugo Redis's", "post-list", CENTRIFUGO_REDIS, 2),
            ("connections, of Centrifugo Redis's", "connections", CENTRIFUGO_REDIS, 1),
        )
    ),
    *(
        Goal(
            f"fan-out, {name}, CPU per delivery, of the kernel's",
            _ratio(workload, DAPHNE, FLOOR, "us"),
            1.5,
            "{:,.2f} x",
            at_most=True,
        )
        for name, workload in (("one at a time", "fan-out-one"), ("5 000", "fan-out-5000"))
    ),
    Goal(
        "latency, p99, of Centrifugo Redis's",
        _ratio("latency", DAPHNE, CENTRIFUGO_REDIS, "p99"),
        1.5,
        "{:,.2f} x",
        at_most=True,
    ),
    *(
        Goal(f"latency, {name}", _figure("latency", DAPHNE, figure), bound, "{:,.1f} ms", True)
        for name, figure, bound in (("p99.9", "p99.9", 30), ("longest block", "longest_block", 10))
    ),
    Goal(
        "reconnects, until all have caught up",
        _figure("reconnects", DAPHNE, "seconds"),
        15,
        "{:,.1f} s",
        at_most=True,
    ),
    Goal(
        "reconnects, refused",
        _figure("reconnects", DAPHNE, "refused"),
        0,
        "{:,.0f}",
        at_most=True,
    ),
)
