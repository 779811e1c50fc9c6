"""Whatever services send, a bridge goes on: it delivers it, or puts it aside and says why."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
import redis

from notifications.bridges import from_channel, from_pattern, from_stream
from notifications.bridges.routes import IncomingRoute
from tests.kit.bridging import consuming, dead_letters, eventually, new_name, published, status

#: By its name: a payload that is no envelope, and what the dead letter says of it.
NO_ENVELOPES: dict[str, tuple[bytes, str]] = {
    "not UTF-8": (b"\xff\xfe\xfd", "utf-8"),
    "10 MB": (b"x" * 10_000_000, "Expecting value"),
    "10 MB of JSON": (b'{"a": "%s"}' % (b"x" * 10_000_000), "destination"),
    "a number": (b"12", "no envelope"),
    "null": (b"null", "no envelope"),
    "a string": (b'"/topic/a"', "no envelope"),
    "a list": (b"[1, 2]", "no envelope"),
    "an empty object": (b"{}", "destination"),
    "nested": (b"[" * 10_000 + b"]" * 10_000, "deeply"),
    "nested objects": (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "deeply"),
    "empty": (b"", "Expecting value"),
    "no body": (b'{"destination": "/topic/a"}', "body"),
    "a number as destination": (b'{"destination": 1, "body": ""}', "destination"),
    "headers that are none": (b'{"destination": "/topic/a", "body": "", "headers": 1}', "headers"),
    "no base64": (b'{"destination": "/topic/a", "body": "?", "encoding": "base64"}', "base64"),
    "another's application": (b'{"destination": "/app/greet", "body": ""}', "nobody hears"),
    "a user's own queue": (b'{"destination": "/user/queue/a", "body": ""}', "nobody hears"),
    "a pattern": (b'{"destination": "/topic/*", "body": ""}', "reserved"),
    "no destination of ours": (b'{"destination": "/queue/a", "body": ""}', "unknown"),
    "a long destination": (b'{"destination": "/topic/%s", "body": ""}' % (b"a" * 300), "255"),
    "a control character": (b'{"destination": "/topic/\\n", "body": ""}', "control"),
    "a lone surrogate": (b'{"destination": "/topic/\\ud800", "body": ""}', "Unicode"),
    "a surrogate in the body": (b'{"destination": "/topic/a", "body": "\\ud800"}', "surrogate"),
    "an endless number": (b'{"destination": "/topic/a", "body": NaN}', "JSON"),
    "a number of 5000 digits": (b"1" * 5000, "digits"),
    "a long key": (
        b'{"destination": "/topic/a", "body": "", "headers": {"idempotency-key": "%s"}}'
        % (b"k" * 300),
        "255",
    ),
    "a large header": (
        b'{"destination": "/topic/a", "body": "", "headers": {"a": "%s"}}' % (b"h" * 100_000),
        "limit",
    ),
}

#: The same of entries with the fields ``message`` and ``topic``.
NO_ENTRIES: dict[str, tuple[Mapping[bytes, bytes], str]] = {
    "no topic": ({b"message": b"a"}, "'topic'"),
    "no message": ({b"topic": b"/topic/a"}, "'message'"),
    "other fields": ({b"a": b"b"}, "'topic'"),
    "5000 fields": ({b"%d" % number: b"x" for number in range(5000)}, "'topic'"),
    "a topic that is not UTF-8": ({b"topic": b"\xff", b"message": b""}, "not UTF-8"),
    "an empty topic": ({b"topic": b"", b"message": b""}, "unknown"),
    "an application": ({b"topic": b"/app/a", b"message": b""}, "nobody hears"),
    "10 MB": ({b"topic": b"/topic/a", b"message": b"x" * 10_000_000}, "limit of"),
    "a long key": (
        {b"topic": b"/topic/a", b"message": b"", b"idempotency-key": b"k" * 300},
        "255",
    ),
    "a key that is not UTF-8": (
        {b"topic": b"/topic/a", b"message": b"", b"idempotency-key": b"\xff"},
        "not UTF-8",
    ),
}


async def check_put_aside(route: IncomingRoute, reasons: list[str]) -> None:
    """Check that everything was put aside for its reason, and nothing but that went wrong."""

    def letters() -> list[dict[bytes, bytes]]:
        found = dead_letters(route)
        return found if len(found) == len(reasons) else []

    found = [letter[b"reason"].decode() for letter in await eventually(letters)]
    for reason, expected in zip(found, reasons, strict=True):
        assert expected in reason
    await eventually(lambda: status(route).get("put_aside") == str(len(reasons)))
    assert status(route)["errors"] == "0"


def envelope(topic: str, body: str) -> bytes:
    return json.dumps({"destination": topic, "body": body}).encode()


async def test_no_payload_on_a_channel_stops_its_bridge(redis_client: redis.Redis) -> None:
    topic, route = f"/topic/{new_name('poison')}", from_channel(new_name("poison"))
    async with consuming(route):
        for name, (payload, _) in NO_ENVELOPES.items():
            redis_client.publish(route.source, payload)
            redis_client.publish(route.source, envelope(topic, name))
        assert await published(topic, len(NO_ENVELOPES)) == [name.encode() for name in NO_ENVELOPES]
        await check_put_aside(route, [reason for _, reason in NO_ENVELOPES.values()])
    letter = dead_letters(route)[3]
    assert (letter[b"channel"], letter[b"payload"]) == (route.source.encode(), b"12")


async def test_no_envelope_in_a_stream_stops_its_bridge(redis_client: redis.Redis) -> None:
    topic = f"/topic/{new_name('poison')}"
    route = from_stream(new_name("poison"), format="envelope")
    async with consuming(route):
        for name, (payload, _) in NO_ENVELOPES.items():
            redis_client.xadd(route.source, {"message": payload})
            redis_client.xadd(route.source, {"message": envelope(topic, name)})
        assert await published(topic, len(NO_ENVELOPES)) == [name.encode() for name in NO_ENVELOPES]
        await check_put_aside(route, [reason for _, reason in NO_ENVELOPES.values()])
        assert redis_client.xpending(route.source, route.group)["pending"] == 0


async def test_no_entry_stops_the_bridge_of_a_stream(redis_client: redis.Redis) -> None:
    topic, route = f"/topic/{new_name('poison')}", from_stream(new_name("poison"))
    async with consuming(route):
        for name, (fields, _) in NO_ENTRIES.items():
            redis_client.xadd(route.source, dict(fields))
            redis_client.xadd(route.source, {"topic": topic, "message": name})
        assert await published(topic, len(NO_ENTRIES)) == [name.encode() for name in NO_ENTRIES]
        await check_put_aside(route, [reason for _, reason in NO_ENTRIES.values()])
    assert dead_letters(route)[0][b"message"] == b"a"


async def test_what_is_no_json_is_put_aside_where_json_is_wanted(
    redis_client: redis.Redis,
) -> None:
    topic = f"/topic/{new_name('poison')}"
    route = from_stream(new_name("poison"), to=topic, format="json")
    wrong = {b"\xff": "no JSON", b"": "no JSON", b"NaN": "no JSON", b"[" * 10_000: "deeply"}
    async with consuming(route):
        for payload in wrong:
            redis_client.xadd(route.source, {"message": payload})
        redis_client.xadd(route.source, {"message": b' {"a": [1, null]}'})
        assert await published(topic, 1) == [b' {"a": [1, null]}']
        await check_put_aside(route, list(wrong.values()))


async def test_a_channel_whose_name_fits_into_no_destination_is_put_aside(
    redis_client: redis.Redis,
) -> None:
    name, topic = new_name("poison"), f"/topic/{new_name('poison')}"
    route = from_pattern(f"{name}.*.x.*", to=f"{topic}/{{2}}/{{1}}")
    wrong = {
        b"": "segment",
        b"a/b": "segment",
        b"*": "segment",
        b"\xff": "segment",
        b"\n": "control",
    }
    async with consuming(route):
        for part in wrong:
            redis_client.publish(f"{name}.".encode() + part + b".x.1", b"x")
        redis_client.publish(f"{name}.eins.x.zwei", b"good")
        assert await published(f"{topic}/zwei/eins", 1) == [b"good"]
        await check_put_aside(route, list(wrong.values()))


async def test_an_operator_is_told_once_not_for_each(
    redis_client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    route = from_channel(new_name("poison"))
    async with consuming(route):
        for _ in range(50):
            redis_client.publish(route.source, b"no envelope")
        await check_put_aside(route, ["Expecting value"] * 50)
    assert sum("dead-lettered" in record.message for record in caplog.records) == 1
