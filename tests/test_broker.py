"""What may be published, and what becomes of its headers."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from realtime.broker import publish, publish_many
from realtime.delivery.frames import SharedFrames, StompEncoder
from realtime.destinations.groups import group_name
from realtime.layer.fence import Fence
from realtime.messages.envelope import open_envelope
from realtime.messages.message import (
    MAX_HEADER_BYTES,
    MAX_HEADERS_BYTES,
    PROTOCOL_HEADERS,
    Message,
    MessageTooLarge,
    check,
)
from tests.kit.listening import stomp_frames


def published(headers: Any) -> dict[str, str]:
    """Return the headers of a message as they travel, without its id."""
    headers = check(Message("/topic/a", b"x", headers)).envelope["headers"]
    del headers["message-id"]
    return headers


def test_headers_of_the_protocol_itself_are_left_out() -> None:
    given = dict.fromkeys(PROTOCOL_HEADERS, "9")
    assert published({**given, "note": "kept", "reply-to": "/temp-queue/s/r"}) == {
        "note": "kept",
        "reply-to": "/temp-queue/s/r",
    }


@pytest.mark.parametrize("acknowledged", [False, True])
def test_no_header_of_a_publisher_stands_for_one_of_the_gateway(acknowledged: bool) -> None:
    given = dict.fromkeys(PROTOCOL_HEADERS, "9")
    message = open_envelope(check(Message("/topic/a", b"x", given, "m1")).envelope)
    assert message is not None
    frames = SharedFrames(message).frames_for(StompEncoder("1.2", "0", acknowledged))
    (frame,) = stomp_frames(frames)
    assert frame.split(b"\n\n")[0].split(b"\n") == [
        b"MESSAGE",
        b"destination:/topic/a",
        b"message-id:m1",
        b"content-length:1",
        b"subscription:0",
        *[b"ack:0/m1"][:acknowledged],
    ]


def test_in_a_message_from_elsewhere_too_the_destination_is_the_gateway_s() -> None:
    message = Message("/topic/a", b"x", {"destination": "/topic/b", "message-id": "2"}, "m1")
    (frame,) = stomp_frames(SharedFrames(message).frames_for(StompEncoder("1.2", "0")))
    assert frame.startswith(b"MESSAGE\ndestination:/topic/a\nmessage-id:m1\ncontent-length:1\n")


@pytest.mark.parametrize(
    "headers", [{"a": 5}, {"a": None}, {"a": b"b"}, {5: "a"}, {"": "a"}, {"a": "\ud800"}]
)
def test_a_header_that_could_not_be_delivered_is_refused(headers: Any) -> None:
    with pytest.raises(ValueError):
        publish("/topic/a", "x", headers)


def test_headers_have_limits() -> None:
    fits = {"é": "x" * (MAX_HEADER_BYTES - 2)}
    assert published(fits) == fits
    with pytest.raises(MessageTooLarge, match="a header of 8193 bytes") as refused:
        published({"é": "x" * (MAX_HEADER_BYTES - 1)})
    assert refused.value.code == "header-too-long"


def test_all_headers_together_have_a_limit() -> None:
    fits = {f"{number:02}": "x" * 1022 for number in range(MAX_HEADERS_BYTES // 1024)}
    assert published(fits) == fits
    with pytest.raises(MessageTooLarge, match="headers of 65538 bytes"):
        published({**fits, "a": "b"})


def test_nothing_reaches_redis_of_what_is_refused(redis_client: redis.Redis) -> None:
    with redis_client.pubsub(ignore_subscribe_messages=True) as heard:
        heard.subscribe(f"gateway__group__{group_name('/topic/a')}")
        heard.get_message(timeout=15)
        with pytest.raises(MessageTooLarge):
            publish("/topic/a", "x", {"a": "x" * 600 * 1024})
        publish("/topic/a", "y")
        message = heard.get_message(timeout=15)
        assert message is not None
        assert b"xxx" not in message["data"]


def test_an_entry_that_would_overtake_another_is_not_taken_for_published(
    redis_client: redis.Redis,
) -> None:
    message = Message("/topic/overtaking", b"x")
    with pytest.raises(redis.RedisError, match="before it was not taken"):
        publish_many([message], "bridge", [Fence("outbox:a", 1, entry="2", after="1")])
    publish_many([message], "bridge", [Fence("outbox:a", 1, entry="1")])
    publish_many([message], "bridge", [Fence("outbox:a", 1, entry="2", after="1")])
    for key in redis_client.scan_iter(f"*{group_name('/topic/overtaking')}*"):
        redis_client.delete(key)
