"""The entries of the routing table, and what `manage.py check` says of wrong ones."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from notifications.bridges import (
    checks,
    from_channel,
    from_pattern,
    from_stream,
    to_channel,
    to_stream,
)
from notifications.bridges.formats import MESSAGE
from notifications.bridges.routes import Arrival, compile_glob, incoming_routes
from realtime.messages.message import Message
from realtime.routes import on_send, on_subscribe
from realtime.routes.table import Table
from realtime.sessions.session import Session
from realtime.stomp import StompError
from tests.kit.bridging import consuming, new_name, published

TEXT = "text/plain;charset=UTF-8"


def session() -> Session:
    return Session(address="", user_agent="")


def message_of(route: Any, payload: bytes, channel: bytes = b"", **fields: bytes) -> Message:
    more = {name.encode(): value for name, value in fields.items()}
    message: Message = route.read(Arrival({MESSAGE: payload, **more}, channel))
    return message


@pytest.mark.parametrize(
    ("format", "payload", "body", "content_type"),
    [
        ("json-string", b'"a"', b"a", TEXT),
        ("json-string", b'{"a": 1}', b'{"a": 1}', TEXT),
        ("json-string", b"\xff", b"\xff", "application/octet-stream"),
        ("raw", b'"a"', b'"a"', "application/octet-stream"),
        ("json", b'{"a": 1}', b'{"a": 1}', "application/json"),
    ],
)
def test_a_format_says_what_the_body_is(
    format: str, payload: bytes, body: bytes, content_type: str
) -> None:
    for route in (
        from_channel("C", to="/topic/a", format=format),
        from_stream("S", to="/topic/a", format=format),
    ):
        message = message_of(route, payload)
        assert (message.destination, message.body) == ("/topic/a", body)
        assert message.headers == {"content-type": content_type}


def test_fields_name_the_topic() -> None:
    message = message_of(from_stream("S"), b"a", topic=b"/topic/a")
    assert (message.destination, message.body, message.headers["content-type"]) == (
        "/topic/a",
        b"a",
        TEXT,
    )
    message = message_of(from_stream("S"), b"\xff", topic=b"/topic/a")
    assert message.headers["content-type"] == "application/octet-stream"


def test_keys_of_one_route_are_not_those_of_another() -> None:
    one, other = (
        route.read(Arrival({MESSAGE: b"", b"idempotency-key": b"k", b"topic": b"/topic/a"}))
        for route in (from_stream("ONE"), from_stream("OTHER"))
    )
    assert one.idempotency_key not in (None, other.idempotency_key)


@pytest.mark.parametrize(
    ("pattern", "channel", "groups"),
    [
        ("orders.*", b"orders.7", (b"7",)),
        ("orders.*", b"orders.", (b"",)),
        ("*.orders.*", b"a.b.orders.c", (b"a.b", b"c")),
        ("*.*", b"a.b.c", (b"a", b"b.c")),
        ("h?llo.*", b"hallo.1\n2", (b"1\n2",)),
        ("h[ae]llo.*", b"hello.1", (b"1",)),
        ("h[^e]llo.*", b"hello.1", None),
        ("[a-c]*", b"b1", (b"1",)),
        (r"\*.*", b"*.1", (b"1",)),
        (r"\*.*", b"a.1", None),
        ("a(.)*", b"a(.)1", (b"1",)),
        ("orders.*", b"orders", None),
    ],
)
def test_a_pattern_matches_as_in_redis_and_tells_what_each_star_stood_for(
    redis_client: redis.Redis, pattern: str, channel: bytes, groups: tuple[bytes, ...] | None
) -> None:
    match = compile_glob(pattern).fullmatch(channel)
    assert (match and match.groups()) == groups
    with redis_client.pubsub(ignore_subscribe_messages=True) as heard:
        heard.psubscribe(pattern)
        heard.get_message(timeout=5)
        assert redis_client.publish(channel, b"") == (0 if groups is None else 1)


async def test_what_matches_a_pattern_reaches_the_topic_named_after_its_channel(
    redis_client: redis.Redis,
) -> None:
    name = new_name("orders")
    async with consuming(from_pattern(f"{name}.*", to=f"/topic/{name}/{{1}}")):
        redis_client.publish(f"{name}.1", '"one"')
        redis_client.publish(f"{name}.2", '"two"')
        assert await published(f"/topic/{name}/1", 1) == [b"one"]
        assert await published(f"/topic/{name}/2", 1) == [b"two"]


def test_a_route_has_a_name_without_a_password() -> None:
    assert from_pattern("a.*", to="/topic/a").id == "pattern:a.*"
    away = from_stream("S", redis="redis://u:secret@other:6379/1")
    assert away.id == "stream:S@redis://u:***@other:6379/1"
    assert (away.group, from_stream("S", group="mine").group) == ("gateway", "mine")


async def test_a_send_becomes_an_entry(redis_client: redis.Redis) -> None:
    stream = new_name("out")
    route = to_stream("/app/test", stream, maxlen=1000)
    await route.forward(Message("/app/test", b"\xffbody", {"topic": "/topic/a"}), session())
    await route.forward(Message("/app/test", b"two"), session())
    assert [fields for _, fields in redis_client.xrange(stream)] == [
        {b"message": b"\xffbody", b"topic": b"/topic/a"},
        {b"message": b"two"},
    ]


async def test_a_stream_that_clients_write_to_does_not_grow_without_end(
    redis_client: redis.Redis,
) -> None:
    stream = new_name("out")
    route = to_stream("/app/test", stream, maxlen=100, format="json-string")
    sent = [route.forward(Message("/app/test", b"%d" % n), session()) for n in range(1000)]
    for each in sent:
        await each
    assert 100 <= redis_client.xlen(stream) <= 300
    [(_, fields)] = redis_client.xrevrange(stream, count=1)
    assert fields == {b"message": b'"999"'}


async def test_only_json_goes_where_json_is_wanted() -> None:
    route = to_channel("/app/test", new_name("out"), format="json")
    await route.forward(Message("/app/test", b"[1]"), session())
    with pytest.raises(StompError, match="no JSON") as caught:
        await route.forward(Message("/app/test", b"[1"), session())
    assert caught.value.code == "bad-body"


def handler(*args: Any) -> None:
    return None


@pytest.mark.parametrize(
    ("routes", "ids"),
    [
        ([from_channel("C", to="/topic/a"), from_stream("C", to="/topic/a")], []),
        ([from_channel("C"), from_channel("C", redis="redis://localhost")], []),
        ([from_channel("C", to="/topic/a"), from_channel("C", to="/topic/b")], ["E001"]),
        ([from_stream("S"), from_stream("S", group="other")], ["E001"]),
        ([from_channel("C", to="/app/greet")], ["E002"]),
        ([from_channel("C", to="/topic/*")], ["E002"]),
        ([from_channel("C", to="/topic/{1}")], ["E002"]),
        ([from_pattern("C.*", to="/topic/{1}")], []),
        ([from_pattern("C.*", to="/topic/{2}")], ["E002"]),
        ([from_pattern("C.*", to="/topic/{0}")], ["E002"]),
        ([from_pattern("C.*", to="/topic/{name}")], ["E002"]),
        ([from_pattern("C.*")], []),
        ([from_pattern("[z-a]*", to="/topic/{1}")], ["E002"]),
        ([from_channel("C", to="/topic/a", format="xml")], ["E003"]),
        ([from_channel("C", format="fields")], ["E003"]),
        ([to_channel("/app/a", "C", format="xml")], ["E003"]),
        ([to_channel("/app/a", "C", format="fields")], ["E003"]),
        ([to_stream("/app/a", "S", format="envelope")], []),
        ([from_stream("S", format="json")], ["E004"]),
        ([from_stream("S", to="/topic/a", format="fields")], ["E004"]),
        ([from_channel("C", to="/topic/a", format="envelope")], ["E004"]),
        ([from_stream("S", redis="http://localhost")], ["E005"]),
        ([to_stream("/app/a", "S", redis="redis+cluster://localhost/3")], ["E005"]),
        ([from_stream("S", redis="redis+sentinel://localhost:26379/name/0")], []),
        ([to_channel("/app/a", "C"), to_stream("/app/a", "S")], ["E006"]),
        ([to_channel("/app/{a}/b", "C"), on_send("/app/{b}/b", handler)], ["E006"]),
        ([to_channel("/app/a", "C"), on_subscribe("/app/a", handler)], []),
    ],
)
def test_the_checks_find_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, routes: list[Any], ids: list[str]
) -> None:
    monkeypatch.setattr(checks, "routing_table", lambda: Table(routes))
    found = checks.check_bridges(None)
    assert [error.id for error in found] == [f"notifications.{id}" for id in ids]
    assert all(error.hint for error in found)


def test_the_checks_never_show_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    route = from_stream("S", redis="redis+other://:secret@localhost")
    monkeypatch.setattr(checks, "routing_table", lambda: Table([route]))
    [error] = checks.check_bridges(None)
    assert "secret" not in str(error)


def test_the_table_of_the_gateway_has_a_channel_and_a_stream() -> None:
    assert [route.id for route in incoming_routes()] == [
        "channel:GREETING_CHANNEL_INBOUND",
        "stream:TEST_EVENT_TO_WEBSOCKET_SERVER",
    ]
