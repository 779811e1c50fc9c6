"""What a function of the routing table makes of a body, and who is told what is wrong with one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from realtime.messages import BadBody, Message
from realtime.routes import on_send
from realtime.stomp import Frame
from tests.kit.local_client import LocalClient, local_client
from tests.routing import OrderSerializer, place_order

NOT_UTF_8 = b"\xff\xfe"


async def ask(client: LocalClient, destination: str, body: bytes) -> Frame:
    """Return the reply to a SEND; the session goes on, without a RECEIPT for a bad body."""
    headers = {"destination": destination, "reply-to": "/temp-queue/a", "receipt": "asked"}
    await client.send_bytes("SEND", headers, body)
    reply = await client.frame("MESSAGE")
    if "error" not in reply.headers:
        assert (await client.frame("RECEIPT")).headers["receipt-id"] == "asked"
    await client.request("SEND", {"destination": "/topic/a"})
    return reply


def test_a_body_is_bytes_and_text_and_json() -> None:
    message = Message("/app/a", '{"name": "Zoë"}'.encode())
    assert message.text == '{"name": "Zoë"}'
    assert message.json() == {"name": "Zoë"}


@pytest.mark.parametrize("body", [b"", b"{", b"NaN", NOT_UTF_8, b"[" * 100_000, b"9" * 5000])
def test_what_is_no_json_is_a_bad_body(body: bytes) -> None:
    with pytest.raises(BadBody, match="JSON"):
        Message("/app/a", body).json()


def test_what_is_not_utf_8_is_no_text() -> None:
    with pytest.raises(BadBody, match="no text: byte 2 is not UTF-8"):
        _ = Message("/app/a", b"ab" + NOT_UTF_8).text


async def test_functions_get_text_and_json(layer: str, client: LocalClient) -> None:
    assert (await ask(client, "/app/shout", "zoë".encode())).body == "ZOË".encode()
    assert (await ask(client, "/app/sum", b"[1, 2, 3]")).body == b"6"


@pytest.mark.parametrize(
    ("destination", "body", "says"),
    [
        ("/app/shout", NOT_UTF_8, "no text: byte 0 is not UTF-8"),
        ("/app/sum", b"one, two", "no JSON: Expecting value: line 1 column 1 (char 0)"),
        ("/app/orders", b"", "no JSON: Expecting value: line 1 column 1 (char 0)"),
    ],
)
async def test_a_reply_says_what_is_wrong_with_a_body(
    client: LocalClient, caplog: pytest.LogCaptureFixture, destination: str, body: bytes, says: str
) -> None:
    reply = await ask(client, destination, body)
    assert reply.headers["error"] == "bad-body"
    assert reply.headers["content-type"] == "application/json"
    assert json.loads(reply.body) == {"detail": says}
    assert "failed" not in caplog.text  # it is not our fault


async def test_a_function_that_takes_the_wrong_kind_of_json_is_at_fault_itself(
    client: LocalClient, caplog: pytest.LogCaptureFixture
) -> None:
    assert (await ask(client, "/app/sum", b"7")).headers["error"] == "internal-error"
    assert "the handler of /app/sum failed" in caplog.text


async def test_a_function_gets_what_a_serializer_has_validated(
    layer: str, client: LocalClient
) -> None:
    order = b'{"product": "ham", "count": "3", "by": "2027-01-31", "price": 0}'
    placed = {"product": "ham", "count": 3, "by": "2027-01-31"}
    assert json.loads((await ask(client, "/app/orders", order)).body) == {"placed": placed}


async def test_one_that_is_not_async_gets_it_with_the_variables(client: LocalClient) -> None:
    reply = await ask(client, "/app/orders/without/eggs", b'{"product": "ham", "count": 1}')
    answer = json.loads(reply.body)
    assert answer["thread"].startswith("realtime-handler")
    assert (answer["placed"], answer["without"]) == ({"product": "ham", "count": 1}, "eggs")


@pytest.mark.parametrize(
    ("destination", "body", "errors"),
    [
        ("/app/orders", {"product": "ham"}, {"count": ["This field is required."]}),
        (
            "/app/orders",
            {"product": "tea", "count": 0},
            {
                "product": ['"tea" is not a valid choice.'],
                "count": ["Ensure this value is greater than or equal to 1."],
            },
        ),
        (
            "/app/orders",
            "ham",
            {"non_field_errors": ["Invalid data. Expected a dictionary, but got str."]},
        ),
        (
            "/app/orders/many",
            [{"product": "ham", "count": 1}, {"product": "ham"}],
            {"1": {"count": ["This field is required."]}},
        ),
        (
            "/app/orders/without/ham",
            {"product": "ham", "count": 1},
            {"product": ["no ham here"]},
        ),
        ("/app/orders/late", {"product": "ham"}, {"count": ["This field is required."]}),
    ],
)
async def test_a_reply_says_which_field_is_wrong(
    client: LocalClient,
    caplog: pytest.LogCaptureFixture,
    destination: str,
    body: Any,
    errors: Any,
) -> None:
    reply = await ask(client, destination, json.dumps(body).encode())
    assert reply.headers["error"] == "bad-body"
    assert json.loads(reply.body) == errors
    assert "failed" not in caplog.text


@pytest.mark.parametrize(
    ("destination", "body"),
    [("/app/orders/many", [{}] * 1500), ("/app/orders", {"product": "\ud800", "count": 1})],
)
async def test_what_is_too_much_or_can_t_be_said_is_said_in_short(
    client: LocalClient, destination: str, body: Any
) -> None:
    reply = await ask(client, destination, json.dumps(body).encode())
    assert reply.headers["error"] == "bad-body"
    assert json.loads(reply.body) == {"detail": "the body is not valid"}


async def test_without_reply_to_a_client_with_soft_errors_is_told(node: None) -> None:
    async with local_client(**{"x-soft-errors": "true"}) as client:
        headers = {"destination": "/app/orders", "receipt": "77"}
        await client.send("SEND", headers, b'{"product": "ham"}')
        told = await client.frame("MESSAGE")
        assert json.loads(told.body) == {"count": ["This field is required."]}
        assert told.headers["refused"] == "bad-body"
        assert told.headers["receipt-id"] == "77"
        assert told.headers["destination"] == "/app/orders"
        await client.request("SEND", {"destination": "/topic/a"})


async def test_without_either_there_is_no_receipt_and_the_session_goes_on(
    client: LocalClient,
) -> None:
    headers = {"destination": "/app/orders", "receipt": "never"}
    await client.send("SEND", headers, b'{"product": "ham"}')
    await client.request("SEND", {"destination": "/topic/a"})  # no other receipt came before


async def test_in_a_transaction_the_commit_has_no_receipt(node: None) -> None:
    async with local_client(**{"x-soft-errors": "true"}) as client:
        await client.send("BEGIN", {"transaction": "t"})
        await client.send("SEND", {"destination": "/app/orders", "transaction": "t"}, b"{}")
        await client.send("COMMIT", {"transaction": "t", "receipt": "never"})
        await client.request("SEND", {"destination": "/topic/a"})


def test_an_entry_with_a_serializer_checks_itself() -> None:
    wrong: Any = "shop.serializers.OrderSerializer"
    with pytest.raises(ValueError, match="takes a class"):
        on_send("/app/orders", place_order, body=wrong)
    with pytest.raises(ValueError, match="data is what the serializer makes of it"):
        on_send("/app/orders/{data}", place_order, body=OrderSerializer)
