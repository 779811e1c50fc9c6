"""The client of many Python services, stomp.py, over its WebSocket transport."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from uuid import uuid4

import pytest
import stomp
from stomp.adapter.ws import WSStompConnection, WSTransport
from stomp.connect import BaseConnection, StompConnection11
from stomp.protocol import Protocol11
from stomp.utils import Frame

from tests.kit.processes import Gateway

#: Generous: it only ends a test that would hang.
TIMEOUT: Final = 15


class WSStompConnection11(StompConnection11):
    """STOMP 1.1 over WebSocket: stomp.py has both, but puts only 1.2 together."""

    def __init__(self, hosts: list[tuple[str, int]], *, ws_path: str) -> None:
        transport = WSTransport(hosts, ws_path=ws_path)
        BaseConnection.__init__(self, transport)
        Protocol11.__init__(self, transport)


CONNECTIONS: Final = {"1.1": WSStompConnection11, "1.2": WSStompConnection}


class Client(stomp.ConnectionListener):
    """A connection and what it hears; stomp.py's own thread calls the listener."""

    def __init__(self, gateway: Gateway, version: str = "1.2", **options: Any) -> None:
        self.version = version
        self.messages: queue.Queue[Frame] = queue.Queue()
        self.connected: queue.Queue[Frame] = queue.Queue()
        self.receipts: queue.Queue[str] = queue.Queue()
        self.errors: queue.Queue[Frame] = queue.Queue()
        self.ended = threading.Event()
        address = [("localhost", gateway.port)]
        self.connection = CONNECTIONS[version](address, ws_path="/stomp", **options)
        self.connection.set_listener("", self)
        self.connection.connect(wait=True)

    def on_connected(self, frame: Frame) -> None:
        self.connected.put(frame)

    def on_message(self, frame: Frame) -> None:
        self.messages.put(frame)

    def on_receipt(self, frame: Frame) -> None:
        self.receipts.put(frame.headers["receipt-id"])

    def on_error(self, frame: Frame) -> None:
        self.errors.put(frame)

    def on_disconnected(self) -> None:
        self.ended.set()

    def request(self, call: Callable[..., Any], *args: Any, **options: Any) -> None:
        """Call a method of the connection and wait for the RECEIPT."""
        receipt = str(uuid4())
        call(*args, **options, receipt=receipt)
        assert self.receipts.get(timeout=TIMEOUT) == receipt

    def subscribe(self, destination: str, id: str = "0", **options: Any) -> None:
        self.request(self.connection.subscribe, destination, id, **options)

    def send(self, destination: str, *bodies: str, **options: Any) -> None:
        for body in bodies:
            self.request(self.connection.send, destination, body, **options)

    def message(self) -> Frame:
        return self.messages.get(timeout=TIMEOUT)

    def bodies(self, count: int) -> list[Any]:
        return [self.message().body for _ in range(count)]

    def answer(self, how: str, message: Frame, **options: Any) -> None:
        """Send an ACK or a NACK, as the version says it."""
        call = getattr(self.connection, how)
        if self.version == "1.2":
            self.request(call, message.headers["ack"], **options)
        else:
            headers = message.headers
            self.request(call, headers["message-id"], headers["subscription"], **options)


@contextmanager
def connected(gateway: Gateway, version: str = "1.2", **options: Any) -> Iterator[Client]:
    """A client, which disconnects unless the test saw the end of its connection."""
    client = Client(gateway, version, **options)
    yield client
    if not client.ended.is_set():
        client.request(client.connection.disconnect)
    assert client.ended.wait(TIMEOUT)


@pytest.fixture(params=CONNECTIONS)
def client(gateway: Gateway, request: pytest.FixtureRequest) -> Iterator[Client]:
    """A client of each version."""
    with connected(gateway, request.param) as client:
        yield client


def test_it_connects_with_its_version(client: Client) -> None:
    headers = client.connected.get(timeout=TIMEOUT).headers
    assert headers["version"] == client.version
    assert headers["server"].startswith("stomp-gateway/")


def test_it_subscribes_and_sends_with_receipts_and_gets_the_message(client: Client) -> None:
    client.subscribe("/topic/stomp.py", "mine")
    client.send("/topic/stomp.py", "na\u00efve \u2713", headers={"note": "a:b\nc \\ d"})
    message = client.message()
    assert message.body == "na\u00efve \u2713"
    assert message.headers["subscription"] == "mine"
    assert message.headers["destination"] == "/topic/stomp.py"
    assert message.headers["note"] == "a:b\nc \\ d"


def test_nothing_comes_after_it_unsubscribed(client: Client) -> None:
    client.subscribe("/topic/stomp.py/ended", "ended")
    client.request(client.connection.unsubscribe, "ended")
    client.subscribe("/topic/stomp.py/ended", "live")
    client.send("/topic/stomp.py/ended", "late")
    assert client.message().headers["subscription"] == "live"
    assert client.messages.empty()


@pytest.mark.parametrize("answer", ["ack", "nack"])
def test_with_a_prefetch_count_of_one_the_second_message_waits_for_the_first(
    client: Client, answer: str
) -> None:
    topic = f"/topic/stomp.py/{answer}"
    client.subscribe(topic, ack="client-individual", headers={"prefetch-count": "1"})
    client.subscribe(topic, "all")  # it tells when a message might have come
    client.send(topic, "1", "2")
    first, *others = [client.message() for _ in range(3)]
    assert (first.headers["subscription"], first.body) == ("0", "1")
    assert [message.headers["subscription"] for message in others] == ["all", "all"]
    client.answer(answer, first)
    second = client.message()
    assert (second.headers["subscription"], second.body) == ("0", "2")
    client.answer(answer, second)
    client.request(client.connection.unsubscribe, "all")
    assert client.messages.empty()


def test_ack_mode_client_acknowledges_all_up_to_the_message(client: Client) -> None:
    client.subscribe("/topic/stomp.py/all", ack="client", headers={"prefetch-count": "2"})
    client.send("/topic/stomp.py/all", "1", "2", "3", "4", "5")
    first, second = client.message(), client.message()
    assert (first.body, second.body) == ("1", "2")
    assert client.messages.empty()
    client.answer("ack", second)
    assert client.bodies(2) == ["3", "4"]
    assert client.messages.empty()


def test_a_transaction_sends_nothing_before_its_commit_and_then_all_in_order(
    client: Client,
) -> None:
    topic = "/topic/stomp.py/committed"
    client.subscribe(topic)
    client.request(client.connection.begin, "t")
    client.send(topic, "first", "second", transaction="t")
    client.send(topic, "outside")
    assert client.bodies(1) == ["outside"]
    client.request(client.connection.commit, "t")
    assert client.bodies(2) == ["first", "second"]


def test_an_aborted_transaction_sends_nothing(client: Client) -> None:
    topic = "/topic/stomp.py/aborted"
    client.subscribe(topic)
    client.request(client.connection.begin, "t")
    client.send(topic, "dropped", transaction="t")
    client.request(client.connection.abort, "t")
    client.send(topic, "after")
    assert client.bodies(1) == ["after"]


def test_an_ack_in_a_transaction_counts_at_its_commit(client: Client) -> None:
    topic = "/topic/stomp.py/acked-in-a-transaction"
    client.subscribe(topic, ack="client", headers={"prefetch-count": "1"})
    client.send(topic, "1", "2")
    first = client.message()
    client.request(client.connection.begin, "t")
    client.answer("ack", first, transaction="t")
    assert client.messages.empty()
    client.request(client.connection.commit, "t")
    assert client.bodies(1) == ["2"]


def test_a_binary_body_of_all_byte_values_comes_back_as_it_was(gateway: Gateway) -> None:
    with connected(gateway, binary_mode=True, auto_decode=False) as client:
        client.subscribe("/topic/stomp.py/binary")
        content_type = "application/octet-stream"
        client.connection.send("/topic/stomp.py/binary", bytes(range(256)), content_type)
        message = client.message()
    assert message.body == bytes(range(256))
    assert message.headers["content-type"] == "application/octet-stream"


def test_its_disconnect_is_answered_and_ends_the_connection(client: Client) -> None:
    client.request(client.connection.disconnect)
    assert client.ended.wait(TIMEOUT)
    assert not client.connection.is_connected()


def test_it_sees_an_error_with_its_code_and_the_connection_ends(client: Client) -> None:
    client.connection.send("/queue/unknown", "lost", receipt="failed")
    error = client.errors.get(timeout=TIMEOUT)
    assert error.headers["code"] == "unknown-destination"
    assert error.headers["receipt-id"] == "failed"
    assert "/queue/unknown" in error.headers["message"]
    assert client.ended.wait(TIMEOUT)
    assert not client.connection.is_connected()
