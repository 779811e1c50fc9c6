"""Requests that come at once begin in turns, and what is left of their clients goes."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from unittest.mock import Mock

import pytest
from twisted.internet.tcp import Port

from realtime.server.turns import (
    ACCEPTS_PER_TURN,
    APPLICATION,
    COST_PER_TURN,
    FIRST,
    NEXT,
    Turns,
    bound_accepts,
)
from tests.kit.servers import Server, read

#: How many first requests of connections begin in one turn.
PER_TURN = COST_PER_TURN // FIRST


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    limits = {"STOMP_CONNECTIONS_PER_ADDRESS": "0", "STOMP_DRAIN_SECONDS": "1"}
    with Server(tmp_path_factory.mktemp("turns") / "log", **limits) as server:
        yield server


async def test_some_requests_begin_at_once_and_the_others_in_later_turns_and_their_order() -> None:
    turns, begun = Turns(), list[int]()
    for number in range(2 * PER_TURN + 1):
        if turns.begin("192.0.2.1", partial(begun.append, number)):
            begun.append(number)
    for turn in (1, 2, 3):
        most = min(turn * PER_TURN, 2 * PER_TURN + 1)
        assert begun == list(range(most))
        await asyncio.sleep(0)


async def test_a_request_that_follows_another_costs_less() -> None:
    turns, begun = Turns(), list[str]()
    assert turns.begin("192.0.2.1", partial(begun.append, "first"), FIRST)
    for _ in range((COST_PER_TURN - FIRST) // NEXT):
        assert turns.begin("192.0.2.1", partial(begun.append, "next"), NEXT)
    assert not turns.begin("192.0.2.1", partial(begun.append, "late"), NEXT)
    await asyncio.sleep(0)
    assert begun == ["late"]


async def test_a_request_that_needs_an_application_costs_more() -> None:
    turns, begun = Turns(), 0
    while turns.begin("192.0.2.1", Mock(), NEXT):
        turns.spend(APPLICATION)
        begun += 1
    assert begun == COST_PER_TURN // (NEXT + APPLICATION)


async def test_each_address_has_its_turn() -> None:
    turns, begun = Turns(), list[str]()
    for _ in range(3 * PER_TURN):
        turns.begin("192.0.2.1", partial(begun.append, "many"))
    turns.begin("192.0.2.2", partial(begun.append, "one"))
    await asyncio.sleep(0)
    assert begun[:2] == ["many", "one"]


def test_all_requests_that_come_at_once_are_answered(server: Server) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(server.socket()) for _ in range(200)]
        for number, client in enumerate(clients):
            client.sendall(b"POST /body HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n")
            client.sendall(b"Connection: close\r\n\r\nabc")
            if number % 4 == 0:
                client.close()  # whose turn may not have come
        for number, client in enumerate(clients):
            if number % 4:
                answer = read(client)
                assert answer.startswith(b"HTTP/1.1 200 ") and b"3" in answer.splitlines()


def test_a_request_goes_when_it_has_become_a_websocket(server: Server) -> None:
    _, before = server.get("/requests")
    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(server.upgraded("/echo"))
        assert server.get("/requests") == (200, before)


def test_a_websocket_that_has_ended_goes_without_the_collector(server: Server) -> None:
    time.sleep(1.5)  # for those of other tests
    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(server.upgraded("/echo"))
        assert server.get("/websockets") == (200, b"20")
    time.sleep(1.5)
    assert server.get("/websockets") == (200, b"0")


def test_a_turn_accepts_some_of_the_connections_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Port, "numberAccepts", None, raising=False)
    bound_accepts()
    factory = Mock(buildProtocol=Mock(return_value=None))
    port = Port(0, factory, interface="127.0.0.1", reactor=Mock())
    port.startListening()
    with ExitStack() as stack:
        stack.callback(port.socket.close)
        for _ in range(2 * ACCEPTS_PER_TURN + 1):
            stack.enter_context(socket.create_connection(port.socket.getsockname()))
        for turn in (1, 2, 3):
            port.doRead()
            most = min(turn * ACCEPTS_PER_TURN, 2 * ACCEPTS_PER_TURN + 1)
            assert factory.buildProtocol.call_count == most
