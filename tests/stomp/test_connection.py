"""One client's protocol: what it may say when, and what it is told."""

from __future__ import annotations

import random
import tracemalloc
from typing import Any

import pytest

from realtime.stomp import (
    AccessDenied,
    Connection,
    Frame,
    FrameDecoder,
    FrameError,
    FrameTooLarge,
    HeartbeatMissed,
    Limits,
    ProtocolError,
    State,
    StompError,
    TooSlow,
    Unavailable,
    ack_id,
    events,
)
from tests.kit.fuzz_stomp import FuzzFailure, fuzz, make_case

VERSIONS = ("1.0", "1.1", "1.2")


def connecting(**arguments: Any) -> Connection:
    return Connection(**arguments)


def connected(version: str = "1.2", **limits: int) -> Connection:
    connection = Connection(limits=Limits(**limits))
    ask(connection, f"CONNECT\naccept-version:{version}\nhost:h\n\n\0".encode())
    connection.connected(session="s", server="test/1")
    return connection


def disconnected() -> Connection:
    connection = connected()
    ask(connection, b"DISCONNECT\n\n\0")
    return connection


def ask(connection: Connection, data: bytes) -> events.Event | None:
    connection.receive_data(data)
    return connection.next_event()


def ask_all(connection: Connection, data: bytes) -> list[events.Event]:
    connection.receive_data(data)
    return list(iter(connection.next_event, None))


def refusal(connection: Connection, data: bytes) -> StompError:
    with pytest.raises(StompError) as caught:
        ask_all(connection, data)
    return caught.value


def headers_of(data: bytes, version: str = "1.2") -> dict[str, str]:
    decoder = FrameDecoder()
    decoder.version = version
    decoder.receive_data(data)
    frame = decoder.next_frame()
    assert frame is not None
    return frame.headers


# Which command, in which state

CONNECT = b"CONNECT\naccept-version:1.2\nhost:h\n\n\0"
COMMANDS = {
    "CONNECT": CONNECT,
    "STOMP": b"STOMP\naccept-version:1.2\nhost:h\n\n\0",
    "SUBSCRIBE": b"SUBSCRIBE\nid:1\ndestination:/topic/a\n\n\0",
    "UNSUBSCRIBE": b"UNSUBSCRIBE\nid:0\n\n\0",
    "SEND": b"SEND\ndestination:/topic/a\n\nhello\0",
    "ACK": b"ACK\nid:0/m\n\n\0",
    "NACK": b"NACK\nid:0/m\n\n\0",
    "BEGIN": b"BEGIN\ntransaction:new\n\n\0",
    "COMMIT": b"COMMIT\ntransaction:tx\n\n\0",
    "ABORT": b"ABORT\ntransaction:tx\n\n\0",
    "DISCONNECT": b"DISCONNECT\n\n\0",
    "MESSAGE": b"MESSAGE\ndestination:/topic/a\n\n\0",
    "CONNECTED": b"CONNECTED\nversion:1.2\n\n\0",
    "send": b"send\ndestination:/topic/a\n\n\0",
    "X": b"X\n\n\0",
}
REQUESTS: dict[str, type[events.Event]] = {
    "SUBSCRIBE": events.Subscribe,
    "UNSUBSCRIBE": events.Unsubscribe,
    "SEND": events.Send,
    "ACK": events.Ack,
    "NACK": events.Nack,
    "BEGIN": events.Begin,
    "COMMIT": events.Commit,
    "ABORT": events.Abort,
    "DISCONNECT": events.Disconnect,
}
TABLE: list[tuple[State, str, type[events.Event] | str | None]] = [
    *((State.CONNECTING, command, events.Connect) for command in ("CONNECT", "STOMP")),
    *((State.CONNECTING, command, "not-connected") for command in REQUESTS),
    *((State.CONNECTED, command, "already-connected") for command in ("CONNECT", "STOMP")),
    *((State.CONNECTED, command, event) for command, event in REQUESTS.items()),
    *(
        (state, command, "unknown-command")
        for state in (State.CONNECTING, State.CONNECTED)
        for command in ("MESSAGE", "CONNECTED", "send", "X")
    ),
    *((State.DISCONNECTED, command, None) for command in COMMANDS),
]


def in_state(state: State) -> Connection:
    if state is State.CONNECTING:
        return connecting()
    if state is State.DISCONNECTED:
        return disconnected()
    connection = connected()
    data = b"SUBSCRIBE\nid:0\ndestination:/topic/0\nack:client\n\n\0BEGIN\ntransaction:tx\n\n\0"
    ask_all(connection, data)
    return connection


@pytest.mark.parametrize(("state", "command", "expected"), TABLE)
def test_each_state_allows_its_commands(
    state: State, command: str, expected: type[events.Event] | str | None
) -> None:
    connection = in_state(state)
    if isinstance(expected, str):
        error = refusal(connection, COMMANDS[command])
        assert isinstance(error, ProtocolError)
        assert error.code == expected
    else:
        event = ask(connection, COMMANDS[command])
        assert type(event) is (expected or type(None))


def test_the_table_has_every_command_in_every_state() -> None:
    assert sorted((s.value, c) for s, c, _ in TABLE) == sorted(
        (state.value, command) for state in State for command in COMMANDS
    )


def test_a_client_connects_then_is_connected_then_disconnects() -> None:
    connection = Connection()
    assert connection.state is State.CONNECTING
    ask(connection, CONNECT)
    connection.connected(session="s", server="test/1")
    assert connection.state is State.CONNECTED
    ask(connection, b"DISCONNECT\n\n\0")
    assert connection.state is State.DISCONNECTED


def test_a_client_may_send_all_at_once() -> None:
    connection = Connection()
    connection.receive_data(CONNECT + COMMANDS["SUBSCRIBE"] + COMMANDS["SEND"])
    assert isinstance(connection.next_event(), events.Connect)
    connection.connected(session="s", server="test/1")
    assert isinstance(connection.next_event(), events.Subscribe)
    assert isinstance(connection.next_event(), events.Send)
    assert connection.next_event() is None


def test_what_follows_connect_is_read_in_the_negotiated_version() -> None:
    connection = Connection()
    connection.receive_data(b"CONNECT\n\n\0SEND\ndestination:/topic/a\na:\\t\n\n\0")
    connection.next_event()
    connection.connected(session="s", server="test/1")
    event = connection.next_event()
    assert event is not None
    assert event.headers["a"] == "\\t"


def test_nothing_counts_after_disconnect() -> None:
    data = COMMANDS["DISCONNECT"] + COMMANDS["SEND"] + b"nonsense"
    assert [type(event) for event in ask_all(connected(), data)] == [events.Disconnect]


def test_nothing_counts_after_an_error() -> None:
    connection = connected()
    connection.receive_data(COMMANDS["X"] + COMMANDS["SEND"])
    with pytest.raises(ProtocolError) as caught:
        connection.next_event()
    connection.error(caught.value)
    assert connection.state is State.DISCONNECTED
    assert connection.next_event() is None
    assert ask(connection, COMMANDS["SEND"]) is None


def test_a_connection_that_failed_is_not_revived_by_accepting_it() -> None:
    """Checking who a client is takes time, and the time for CONNECT may end meanwhile."""
    connection = Connection()
    ask(connection, CONNECT)
    connection.error(ProtocolError("no CONNECT in time", code="connect-timeout"))
    connection.connected(session="s", server="test/1")
    assert connection.state is State.DISCONNECTED
    assert ask(connection, COMMANDS["SEND"]) is None


@pytest.mark.parametrize("version", VERSIONS)
def test_heart_beats_are_no_events(version: str) -> None:
    assert ask_all(connected(version), b"\n\r\n\n") == []


# Connecting


def test_connect_says_who_and_where() -> None:
    data = b"CONNECT\naccept-version:1.2\nhost:example.org\nlogin:me\npasscode:a:b\\c\n\n\0"
    event = ask(Connection(), data)
    assert isinstance(event, events.Connect)
    assert event.versions == ("1.2",)
    assert (event.host, event.login, event.passcode) == ("example.org", "me", "a:b\\c")


def test_connect_needs_no_header_at_all() -> None:
    """STOMP 1.0 has none; and 1.2's ``host`` matters to servers with virtual hosts only."""
    event = ask(Connection(), b"CONNECT\n\n\0")
    assert isinstance(event, events.Connect)
    assert (event.host, event.login, event.passcode, event.receipt) == (None, None, None, None)
    assert isinstance(ask(Connection(), b"CONNECT\naccept-version:1.2\n\n\0"), events.Connect)


def test_the_padding_of_connect_is_no_part_of_its_values_in_1_0() -> None:
    event = ask(Connection(), b"CONNECT\nlogin: me\npasscode: secret\n\n\0")
    assert isinstance(event, events.Connect)
    assert (event.login, event.passcode) == ("me", "secret")


def test_connect_is_never_trimmed_since_1_1() -> None:
    event = ask(Connection(), b"CONNECT\naccept-version:1.1\nlogin: me\npasscode: secret \n\n\0")
    assert isinstance(event, events.Connect)
    assert (event.login, event.passcode) == (" me", " secret ")


@pytest.mark.parametrize(
    ("offered", "versions"),
    [
        (b"", ("1.0",)),
        (b"accept-version:1.0\n", ("1.0",)),
        (b"accept-version:1.1\n", ("1.1",)),
        (b"accept-version:1.2\n", ("1.2",)),
        (b"accept-version:1.0,1.1\n", ("1.0", "1.1")),
        (b"accept-version:1.0,1.1,1.2\n", VERSIONS),
        (b"accept-version:1.2,1.1,1.0\n", VERSIONS),
        (b"accept-version:1.2, 1.1\n", ("1.1", "1.2")),
        (b"accept-version:1.0,1.1,2.0\n", ("1.0", "1.1")),
        (b"accept-version:1.1,1.1\n", ("1.1",)),
        (b"accept-version:1.1\naccept-version:1.2\n", ("1.1",)),
    ],
)
def test_the_highest_common_version_is_spoken(offered: bytes, versions: tuple[str, ...]) -> None:
    connection = Connection()
    event = ask(connection, b"CONNECT\n" + offered + b"\n\0")
    assert isinstance(event, events.Connect)
    assert event.versions == versions
    assert connection.version == versions[-1]
    data = connection.connected(session="s", server="test/1")
    assert headers_of(data)["version"] == versions[-1]


@pytest.mark.parametrize("offered", ["2.0", "0.9,1.3", "", ",", "1", "1.20", "v1.2", "1.2;1.1"])
def test_without_a_common_version_there_is_no_session(offered: str) -> None:
    error = refusal(Connection(), f"CONNECT\naccept-version:{offered}\n\n\0".encode())
    assert isinstance(error, ProtocolError)
    assert error.code == "version-not-supported"


def test_a_client_without_a_common_version_is_told_the_versions() -> None:
    """The header is in the specifications' example; people and stomp.js look at the text."""
    connection = Connection()
    data = connection.error(refusal(connection, b"CONNECT\naccept-version:2.0\n\n\0"))
    assert headers_of(data)["version"] == "1.0,1.1,1.2"
    assert b"1.0, 1.1, 1.2" in data


def test_connected_says_what_was_negotiated() -> None:
    connection = Connection(heartbeat_ms=(5000, 7000))
    ask(connection, CONNECT)
    data = connection.connected(session="s-1", server="test/1", user="me")
    assert data == (
        b"CONNECTED\nversion:1.2\nheart-beat:5000,7000\nsession:s-1\nserver:test/1\n"
        b"user-name:me\n\n\0"
    )


def test_connected_names_nobody_without_a_user() -> None:
    connection = Connection()
    ask(connection, CONNECT)
    assert "user-name" not in headers_of(connection.connected(session="s", server="test/1"))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_name_smuggles_no_header_into_connected(version: str) -> None:
    connection = Connection()
    ask(connection, f"CONNECT\naccept-version:{version}\n\n\0".encode())
    data = connection.connected(session="s", server="test/1", user="me\nversion:9\r\n\r\nbody")
    assert list(headers_of(data)) == ["version", "heart-beat", "session", "server", "user-name"]
    assert headers_of(data)["user-name"] == "me version:9    body"


# Heart-beats


@pytest.mark.parametrize(
    ("server", "client", "out", "in_"),
    [
        ((1000, 1000), b"", 0, 0),
        ((1000, 1000), b"heart-beat:0,0\n", 0, 0),
        ((1000, 1000), b"heart-beat:0,500\n", 1000, 0),
        ((1000, 1000), b"heart-beat:500,0\n", 0, 1000),
        ((1000, 1000), b"heart-beat:500,500\n", 1000, 1000),
        ((1000, 1000), b"heart-beat:1000,1000\n", 1000, 1000),
        ((1000, 1000), b"heart-beat:4000,3000\n", 3000, 4000),
        ((5000, 7000), b"heart-beat:6000,6000\n", 6000, 7000),
        ((0, 1000), b"heart-beat:500,500\n", 0, 1000),
        ((1000, 0), b"heart-beat:500,500\n", 1000, 0),
        ((0, 0), b"heart-beat:500,500\n", 0, 0),
        ((1000, 1000), b"heart-beat: 2000 , 3000\n", 3000, 2000),
        ((1000, 1000), b"heart-beat:2000,3000\nheart-beat:0,0\n", 3000, 2000),
    ],
)
def test_heart_beats_come_at_the_slower_sides_pace(
    server: tuple[int, int], client: bytes, out: int, in_: int
) -> None:
    connection = Connection(heartbeat_ms=server)
    assert ask(connection, b"CONNECT\naccept-version:1.2\n" + client + b"\n\0") is not None
    assert (connection.heartbeat_out_ms, connection.heartbeat_in_ms) == (out, in_)


@pytest.mark.parametrize(
    "value",
    ["", ",", "1", "1,", ",1", "-1,0", "0,+1", "1.5,0", "a,b", "1,2,3", "1;2", "١,٢", "²,1"],
)
def test_heart_beat_is_two_numbers(value: str) -> None:
    error = refusal(Connection(), f"CONNECT\nheart-beat:{value}\n\n\0".encode())
    assert error.code == "bad-header"


@pytest.mark.parametrize("value", [b"9" * 4000 + b",0", b"0," + b"9" * 5000])
def test_a_heart_beat_of_thousands_of_digits_is_refused(value: bytes) -> None:
    error = refusal(Connection(), b"CONNECT\nheart-beat:" + value + b"\n\n\0")
    assert error.code == "bad-header"


# What each request needs and says

NEEDED: dict[str, dict[str, list[str]]] = {
    "1.0": {
        "SUBSCRIBE": ["destination"],
        "UNSUBSCRIBE": ["destination"],
        "ACK": ["message-id"],
    },
    "1.1": {
        "SUBSCRIBE": ["id", "destination"],
        "UNSUBSCRIBE": ["id"],
        "ACK": ["message-id", "subscription"],
        "NACK": ["message-id", "subscription"],
    },
    "1.2": {
        "SUBSCRIBE": ["id", "destination"],
        "UNSUBSCRIBE": ["id"],
        "ACK": ["id"],
        "NACK": ["id"],
    },
}
for _commands in NEEDED.values():
    _commands["SEND"] = ["destination"]
    _commands |= {command: ["transaction"] for command in ("BEGIN", "COMMIT", "ABORT")}

VALUES = {
    "destination": "/topic/a",
    "id": "1",
    "message-id": "m",
    "subscription": "1",
    "transaction": "tx",
}


def request(command: str, names: list[str]) -> bytes:
    lines = [command, *(f"{name}:{VALUES[name]}" for name in names)]
    return "\n".join([*lines, "receipt:r", "", "\0"]).encode()


def ready(version: str, command: str) -> Connection:
    """A client that may send this: it subscribed, and began a transaction."""
    connection = connected(version)
    if command == "UNSUBSCRIBE":
        ask(connection, request("SUBSCRIBE", NEEDED[version]["SUBSCRIBE"]))
    if command in {"COMMIT", "ABORT"}:
        ask(connection, request("BEGIN", ["transaction"]))
    return connection


@pytest.mark.parametrize(
    ("version", "command"), [(v, command) for v, commands in NEEDED.items() for command in commands]
)
def test_a_request_needs_only_what_the_version_demands(version: str, command: str) -> None:
    event = ask(ready(version, command), request(command, NEEDED[version][command]))
    assert isinstance(event, REQUESTS[command])
    assert event.receipt == "r"


@pytest.mark.parametrize("empty", [False, True])
@pytest.mark.parametrize(
    ("version", "command", "missing"),
    [
        (version, command, name)
        for version, commands in NEEDED.items()
        for command, names in commands.items()
        for name in names
    ],
)
def test_a_request_without_what_the_version_demands_is_refused(
    version: str, command: str, missing: str, empty: bool
) -> None:
    data = request(command, [n for n in NEEDED[version][command] if n != missing])
    if empty:
        data = data.replace(b"\nreceipt:", f"\n{missing}:\nreceipt:".encode())
    error = refusal(ready(version, command), data)
    assert isinstance(error, ProtocolError)
    assert error.code == "missing-header"
    assert command in error.message
    assert repr(missing) in error.message
    assert error.receipt == "r"


def test_stomp_1_0_has_no_nack() -> None:
    error = refusal(connected("1.0"), b"NACK\nmessage-id:m\n\n\0")
    assert error.code == "unknown-command"


def test_disconnect_needs_nothing() -> None:
    event = ask(connected(), b"DISCONNECT\n\n\0")
    assert isinstance(event, events.Disconnect)
    assert event.receipt is None


def test_send_says_what_and_where() -> None:
    data = b"SEND\ndestination:/topic/a\ncontent-type:text/plain\nx\\cy:z\nreceipt:7\n\nhel\xfflo\0"
    assert ask(connected(), data) == events.Send(
        destination="/topic/a",
        body=b"hel\xfflo",
        transaction=None,
        receipt="7",
        headers={
            "destination": "/topic/a",
            "content-type": "text/plain",
            "x:y": "z",
            "receipt": "7",
        },
    )


def test_a_receipt_may_be_any_value_even_an_empty_one() -> None:
    event = ask(connected(), b"SEND\ndestination:/topic/a\nreceipt:\n\n\0")
    assert event is not None
    assert event.receipt == ""


@pytest.mark.parametrize("command", ["SUBSCRIBE", "UNSUBSCRIBE", "ACK", "BEGIN", "DISCONNECT"])
def test_a_body_where_none_belongs_is_ignored(command: str) -> None:
    data = COMMANDS[command].removesuffix(b"\0") + b"body\0"
    assert isinstance(ask(in_state(State.CONNECTED), data), REQUESTS[command])


def test_the_limit_of_a_frame_is_another_one_before_connected() -> None:
    connection = Connection(limits=Limits(max_connect_frame_bytes=60, max_frame_bytes=200))
    ask(connection, CONNECT)
    connection.connected(session="s", server="test/1")
    head = b"SEND\ndestination:/topic/a\n\n"
    assert ask(connection, head + b"x" * (200 - len(head)) + b"\0") is not None
    error = refusal(connection, head + b"x" * (201 - len(head)) + b"\0")
    assert isinstance(error, FrameTooLarge)
    large = Connection(limits=Limits(max_connect_frame_bytes=60))
    assert refusal(large, b"CONNECT\nlogin:" + b"x" * 50).code == "frame-too-large"


# Subscriptions


@pytest.mark.parametrize("ack", ["auto", "client", "client-individual"])
def test_a_subscription_has_an_ack_mode(ack: str) -> None:
    data = f"SUBSCRIBE\nid:0\ndestination:/topic/a\nack:{ack}\n\n\0".encode()
    event = ask(connected(), data)
    assert isinstance(event, events.Subscribe)
    assert event.ack == ack


def test_the_ack_mode_is_auto_if_there_is_none() -> None:
    event = ask(connected(), COMMANDS["SUBSCRIBE"])
    assert isinstance(event, events.Subscribe)
    assert (event.id, event.key, event.destination, event.ack) == ("1", "1", "/topic/a", "auto")


@pytest.mark.parametrize("ack", ["", "Auto", "individual", "auto ", "none"])
def test_an_unknown_ack_mode_is_refused(ack: str) -> None:
    error = refusal(connected(), f"SUBSCRIBE\nid:0\ndestination:/topic/a\nack:{ack}\n\n\0".encode())
    assert error.code == "bad-header"


def test_a_subscription_has_an_id_of_its_own() -> None:
    connection = connected()
    ask(connection, b"SUBSCRIBE\nid:0\ndestination:/topic/a\n\n\0")
    error = refusal(connection, b"SUBSCRIBE\nid:0\ndestination:/topic/b\nreceipt:r\n\n\0")
    assert (error.code, error.receipt) == ("duplicate-subscription", "r")


def test_a_destination_may_have_several_subscriptions() -> None:
    connection = connected()
    data = b"SUBSCRIBE\nid:%d\ndestination:/topic/a\n\n\0"
    assert len(ask_all(connection, data % 0 + data % 1)) == 2
    assert connection.subscriptions == {"0", "1"}


def test_an_id_is_free_again_after_unsubscribe() -> None:
    connection = connected()
    subscribe, unsubscribe = COMMANDS["SUBSCRIBE"], b"UNSUBSCRIBE\nid:1\n\n\0"
    assert len(ask_all(connection, (subscribe + unsubscribe) * 2)) == 4
    assert connection.subscriptions == set()


@pytest.mark.parametrize("version", VERSIONS)
def test_there_is_no_unsubscribing_twice(version: str) -> None:
    connection = connected(version)
    unsubscribe = b"UNSUBSCRIBE\nid:1\nreceipt:r\n\n\0"
    assert len(ask_all(connection, COMMANDS["SUBSCRIBE"] + unsubscribe)) == 2
    error = refusal(connection, unsubscribe)
    assert (error.code, error.receipt) == ("unknown-subscription", "r")


def test_ids_are_compared_as_they_are() -> None:
    connection = connected()
    ask(connection, b"SUBSCRIBE\nid:a\ndestination:/topic/a\n\n\0")
    for other in (b"A", b" a", b"a ", b"/topic/a"):
        other_connection = connected()
        other_connection.subscriptions |= connection.subscriptions
        error = refusal(other_connection, b"UNSUBSCRIBE\nid:" + other + b"\n\n\0")
        assert error.code == "unknown-subscription"


@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_since_1_1_only_the_id_unsubscribes(version: str) -> None:
    connection = connected(version)
    ask(connection, COMMANDS["SUBSCRIBE"])
    error = refusal(connection, b"UNSUBSCRIBE\ndestination:/topic/a\n\n\0")
    assert error.code == "missing-header"


def test_a_client_may_have_as_many_subscriptions_as_the_limit() -> None:
    connection = connected(max_subscriptions=3)
    data = b"SUBSCRIBE\nid:%d\ndestination:/topic/a\nreceipt:r%d\n\n\0"
    ask_all(connection, b"".join(data % (n, n) for n in range(3)))
    assert len(connection.subscriptions) == 3
    ask_all(connection, b"UNSUBSCRIBE\nid:0\n\n\0" + data % (3, 3))
    error = refusal(connection, data % (4, 4))
    assert isinstance(error, AccessDenied)
    assert (error.code, error.receipt) == ("too-many-subscriptions", "r4")
    assert connection.subscriptions == {"1", "2", "3"}


def test_a_1_0_subscription_may_go_by_its_destination() -> None:
    connection = connected("1.0")
    event = ask(connection, b"SUBSCRIBE\ndestination:/topic/a\n\n\0")
    assert isinstance(event, events.Subscribe)
    assert (event.id, event.key) == (None, "/topic/a")
    other = b"SUBSCRIBE\ndestination:/topic/b\n\n\0UNSUBSCRIBE\ndestination:/topic/a\n\n\0"
    _, event = ask_all(connection, other)
    assert isinstance(event, events.Unsubscribe)
    assert event.key == "/topic/a"
    assert connection.subscriptions == {"/topic/b"}


def test_a_1_0_subscription_may_have_an_id() -> None:
    connection = connected("1.0")
    event = ask(connection, b"SUBSCRIBE\nid:0\ndestination:/topic/a\n\n\0")
    assert isinstance(event, events.Subscribe)
    assert (event.id, event.key) == ("0", "0")
    event = ask(connection, b"UNSUBSCRIBE\nid:0\ndestination:/topic/a\n\n\0")
    assert isinstance(event, events.Unsubscribe)
    assert event.key == "0"


def test_a_1_0_client_has_one_subscription_without_id_for_a_destination() -> None:
    data = b"SUBSCRIBE\ndestination:/topic/a\n\n\0"
    assert refusal(connected("1.0"), data * 2).code == "duplicate-subscription"


def test_an_empty_id_is_none_in_1_0() -> None:
    """Else it could be subscribed to, and not be unsubscribed."""
    connection = connected("1.0")
    event = ask(connection, b"SUBSCRIBE\nid:\ndestination:/topic/a\n\n\0")
    assert isinstance(event, events.Subscribe)
    assert (event.id, event.key) == (None, "/topic/a")
    assert ask(connection, b"UNSUBSCRIBE\nid:\ndestination:/topic/a\n\n\0") is not None
    assert connection.subscriptions == set()


# Acknowledgements


@pytest.mark.parametrize("command", ["ACK", "NACK"])
@pytest.mark.parametrize("subscription", ["0", "sub/with/slashes", "ü:x"])
def test_the_ack_header_names_subscription_and_message_in_1_2(
    subscription: str, command: str
) -> None:
    frame = Frame(command, {"id": ack_id(subscription, "m-1")})
    data = f"{command}\nid:{frame.headers['id'].replace(':', chr(92) + 'c')}\n\n\0".encode()
    event = ask(connected(), data)
    assert isinstance(event, REQUESTS[command])
    assert isinstance(event, events.Ack)
    assert (event.subscription, event.message_id) == (subscription, "m-1")


def test_an_ack_names_subscription_and_message_in_1_1() -> None:
    event = ask(connected("1.1"), b"ACK\nsubscription:0\nmessage-id:m/1\nid:x\n\n\0")
    assert isinstance(event, events.Ack)
    assert (event.subscription, event.message_id) == ("0", "m/1")


def test_an_ack_names_the_message_only_in_1_0() -> None:
    event = ask(connected("1.0"), b"ACK\nmessage-id:m/1\n\n\0")
    assert isinstance(event, events.Ack)
    assert (event.subscription, event.message_id) == (None, "m/1")


# Transactions


def test_a_transaction_holds_its_requests_until_commit() -> None:
    data = (
        b"BEGIN\ntransaction:t\n\n\0BEGIN\ntransaction:u\n\n\0"
        b"SEND\ndestination:/topic/a\ntransaction:t\nreceipt:1\n\nfirst\0"
        b"SEND\ndestination:/topic/a\ntransaction:u\n\nother\0"
        b"SEND\ndestination:/topic/a\n\nat once\0"
        b"ACK\nid:0/m\ntransaction:t\n\n\0"
        b"NACK\nid:0/n\ntransaction:t\n\n\0"
        b"COMMIT\ntransaction:t\nreceipt:2\n\n\0"
    )
    *before, commit = ask_all(connected(), data)
    assert [event.receipt for event in before] == [None, None, "1", None, None, None, None]
    assert isinstance(commit, events.Commit)
    assert commit.receipt == "2"
    assert [type(held) for held in commit.requests] == [events.Send, events.Ack, events.Nack]
    assert [held.receipt for held in commit.requests] == [None] * 3
    assert [held.transaction for held in commit.requests] == [None] * 3
    assert isinstance(commit.requests[0], events.Send)
    assert commit.requests[0].body == b"first"


def test_an_aborted_transaction_is_forgotten() -> None:
    data = (
        b"BEGIN\ntransaction:t\n\n\0SEND\ndestination:/topic/a\ntransaction:t\n\nx\0"
        b"ABORT\ntransaction:t\n\n\0BEGIN\ntransaction:t\n\n\0COMMIT\ntransaction:t\n\n\0"
    )
    commit = ask_all(connected(), data)[-1]
    assert isinstance(commit, events.Commit)
    assert commit.requests == ()


def test_a_transaction_has_a_name_of_its_own() -> None:
    error = refusal(connected(), b"BEGIN\ntransaction:t\nreceipt:r\n\n\0" * 2)
    assert (error.code, error.receipt) == ("duplicate-transaction", "r")


@pytest.mark.parametrize("command", ["SEND", "ACK", "NACK", "COMMIT", "ABORT"])
@pytest.mark.parametrize("name", [b"t", b"", b"tx ", b"TX"])
def test_a_transaction_has_to_be_begun(command: str, name: bytes) -> None:
    data = COMMANDS[command].replace(b"transaction:tx\n", b"")
    data = data.replace(b"\n", b"\ntransaction:" + name + b"\nreceipt:r\n", 1)
    error = refusal(in_state(State.CONNECTED), data)
    unnamed = not name and command in {"COMMIT", "ABORT"}
    assert error.code == ("missing-header" if unnamed else "unknown-transaction")
    assert error.receipt == "r"


def test_a_client_may_have_as_many_transactions_as_the_limit() -> None:
    connection = connected(max_transactions=2)
    ask_all(connection, b"BEGIN\ntransaction:a\n\n\0BEGIN\ntransaction:b\n\n\0")
    ask_all(connection, b"ABORT\ntransaction:a\n\n\0BEGIN\ntransaction:c\n\n\0")
    error = refusal(connection, b"BEGIN\ntransaction:d\n\n\0")
    assert isinstance(error, AccessDenied)
    assert error.code == "too-many-transactions"


def _sends_until_refused(connection: Connection, data: bytes, most: int) -> int:
    ask_all(connection, b"BEGIN\ntransaction:t\n\n\0")
    for count in range(most):
        connection.receive_data(data)
        try:
            connection.next_event()
        except FrameTooLarge as error:
            assert error.code == "transaction-too-large"
            return count
    return most


def test_transactions_hold_no_more_than_the_limit() -> None:
    data = b"SEND\ndestination:/topic/a\ntransaction:t\n\n" + b"x" * 1000 + b"\0"
    count = _sends_until_refused(connected(max_transaction_bytes=10_000), data, 20)
    assert 4 <= count <= 9


def test_the_headers_held_in_a_transaction_count_for_the_limit() -> None:
    data = b"SEND\ndestination:/topic/a\ntransaction:t\nx:" + b"x" * 5000 + b"\n\n\0"
    assert _sends_until_refused(connected(max_transaction_bytes=10_000), data, 20) <= 2
    data = b"ACK\nid:0/m\ntransaction:t\nx:" + b"x" * 5000 + b"\n\n\0"
    assert _sends_until_refused(connected(max_transaction_bytes=10_000), data, 20) <= 2


@pytest.mark.parametrize("value", ["", "x", "ā𝄞b"])
def test_transactions_hold_no_more_memory_than_some_times_the_limit(value: str) -> None:
    """Whatever the frames are made of: many short headers weigh more than their text."""
    lines = "".join(f"{number}:{value}\n" for number in range(1000, 1098))
    data = f"SEND\ndestination:/topic/a\ntransaction:t\n{lines}\n\0".encode()
    limit = 128 * 1024
    connection = connected(max_transaction_bytes=limit)
    tracemalloc.start()
    try:
        assert _sends_until_refused(connection, data, 1000) < 1000
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert held < 4 * limit


def test_the_limit_is_for_all_transactions_together() -> None:
    connection = connected(max_transaction_bytes=10_000)
    ask_all(connection, b"BEGIN\ntransaction:a\n\n\0BEGIN\ntransaction:b\n\n\0")
    data = b"SEND\ndestination:/topic/a\ntransaction:%b\n\n" + b"x" * 6000 + b"\0"
    ask(connection, data % b"a")
    assert refusal(connection, data % b"b").code == "transaction-too-large"


# Answers


def test_a_receipt_names_the_request() -> None:
    connection = connected()
    assert connection.receipt("a:b") == b"RECEIPT\nreceipt-id:a\\cb\n\n\0"
    assert connection.receipt("1", {"n": "2"}) == b"RECEIPT\nreceipt-id:1\nn:2\n\n\0"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("wire", [b"plain", b"", b" padded ", b"a:b", b"\xe2\x98\x83"])
def test_a_receipt_comes_back_as_it_was(wire: bytes, version: str) -> None:
    connection = connected(version)
    event = ask(connection, b"SEND\ndestination:/topic/a\nreceipt:" + wire + b"\n\n\0")
    assert event is not None
    assert event.receipt is not None
    back = headers_of(connection.receipt(event.receipt), version)["receipt-id"]
    assert back.strip() == wire.decode().strip()
    assert version == "1.0" or back == wire.decode()


def test_an_error_says_what_for_people_and_for_programs() -> None:
    connection = connected()
    error = ProtocolError("no: such thing", code="no-such-thing", receipt="r:1")
    assert connection.error(error) == (
        b"ERROR\nmessage:no\\c such thing\ncode:no-such-thing\nreceipt-id:r\\c1\n"
        b"content-type:text/plain;charset=UTF-8\ncontent-length:15\n\nno: such thing\n\0"
    )


def test_an_error_without_a_receipt_names_none() -> None:
    data = connected().error(ProtocolError("no", code="no"))
    assert b"receipt-id" not in data


@pytest.mark.parametrize("version", VERSIONS)
def test_an_error_smuggles_no_header_in(version: str) -> None:
    data = connected(version).error(ProtocolError("a\nb:c\r\n\r\nd", code="x", receipt="r\ns:t"))
    assert list(headers_of(data, version)) == [
        "message", "code", "receipt-id", "content-type", "content-length",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"X\nreceipt:r\n\n\0", "unknown-command"),
        (b"CONNECT\nreceipt:r\n\n\0", "already-connected"),
        (b"SEND\nreceipt:r\n\n\0", "missing-header"),
        (b"SUBSCRIBE\nid:0\ndestination:/topic/a\nack:x\nreceipt:r\n\n\0", "bad-header"),
        (b"UNSUBSCRIBE\nid:0\nreceipt:r\n\n\0", "unknown-subscription"),
        (b"COMMIT\ntransaction:t\nreceipt:r\n\n\0", "unknown-transaction"),
    ],
)
def test_an_error_names_the_request_that_failed(data: bytes, code: str) -> None:
    connection = connected()
    error = refusal(connection, data)
    assert (error.code, error.receipt) == (code, "r")
    assert headers_of(connection.error(error))["receipt-id"] == "r"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"SEND\nreceipt:r\n\n\0", "not-connected"),
        (b"X\nreceipt:r\n\n\0", "unknown-command"),
        (b"CONNECT\naccept-version:9\nreceipt:r\n\n\0", "version-not-supported"),
        (b"CONNECT\nheart-beat:x\nreceipt:r\n\n\0", "bad-header"),
    ],
)
def test_an_error_before_connected_names_the_request_too(data: bytes, code: str) -> None:
    error = refusal(Connection(), data)
    assert (error.code, error.receipt) == (code, "r")


@pytest.mark.parametrize(
    "data",
    [
        b"SEND\n\n\0",
        b"X\\:\r\n\n\0",
        b"CONNECT\naccept-version:9\n\n\0",
        b"SEND\na:\\t\n\n\0",
        b"SEND\nno colon\n\n\0",
    ],
)
def test_an_error_before_connected_is_the_same_with_and_without_unescaping(data: bytes) -> None:
    """The version is not agreed on: some clients unescape already, some do not yet."""
    connection = Connection()
    told = connection.error(refusal(connection, data))
    assert headers_of(told, "1.0") == headers_of(told, "1.1") == headers_of(told, "1.2")


@pytest.mark.parametrize(
    "data",
    [
        b"content-length:10737418240\n\n",
        b"content-length:1\n\nxy\0",
        b"content-length:x\n\n\0",
        b"a:\\t\n\n\0",
        b"no colon\n\n\0",
        b"\xff:\n\n\0",
        b"a:" + b"x" * 9000 + b"\n\n\0",
        b"a:b\n" * 200 + b"\n\0",
        b"a:b\n" * 20_000,
        b"\n" + b"x" * 70_000,
        b"a:b\n\0",
    ],
)
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_an_error_names_the_frame_whose_rest_is_bad(data: bytes, line_end: bytes) -> None:
    frame = b"SEND\ndestination:/topic/a\nreceipt:a\\cb\n" + data
    error = refusal(connected(), frame.replace(b"\n", line_end))
    assert isinstance(error, FrameError)
    assert error.receipt == "a:b"


def test_the_receipt_of_a_bad_frame_is_read_as_its_version_says() -> None:
    bad = b"receipt: a\\cb \nno colon\n\n\0"
    assert refusal(connected("1.0"), b"SEND\n" + bad).receipt == "a\\cb"
    assert refusal(connected("1.2"), b"SEND\n" + bad).receipt == " a:b "
    assert refusal(Connection(), b"CONNECT\n" + bad).receipt == " a\\cb "
    assert refusal(connected(), b"SEND\nreceipt:\\t\n\n\0").receipt == "\\t"


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n",
        b"SEND\nno colon\n\nreceipt:in the body\n\0",
        b"SEND\r\nno colon\r\n\r\nreceipt:in the body\r\n\0",
        b"SEND\na-receipt:r\nno colon\n\n\0",
        b"SEND\nreceipt:" + b"r" * 9000 + b"\n\n\0",
        b"SEND\n" + b"a:b\n" * 20_000 + b"receipt:cut of",
    ],
)
def test_bytes_without_a_receipt_have_none(data: bytes) -> None:
    assert refusal(connected(), data).receipt is None


def test_an_unknown_command_is_not_repeated_at_length() -> None:
    error = refusal(connected(), b"\r" + b"X" * 12 + b"\n\n\0")
    assert len(error.message) < 60


@pytest.mark.parametrize(
    ("error", "close_code"),
    [
        (StompError, 1011),
        (FrameError, 1002),
        (FrameTooLarge, 1009),
        (ProtocolError, 1002),
        (AccessDenied, 1008),
        (Unavailable, 4001),
        (HeartbeatMissed, 4002),
        (TooSlow, 4003),
    ],
)
def test_each_error_has_its_close_code(error: type[StompError], close_code: int) -> None:
    assert error("no", code="no").close_code == close_code
    assert str(error("no", code="no")) == "no"


# Secrets


def test_no_secret_is_in_the_repr_of_an_event() -> None:
    data = b"CONNECT\nlogin:me\npasscode:hunter2\nauthorization:hunter2\ncookie:hunter2\n\n\0"
    event = ask(Connection(), data)
    assert isinstance(event, events.Connect)
    assert event.passcode == "hunter2"
    assert "hunter2" not in repr(event)
    assert "me" in repr(event)


@pytest.mark.parametrize("command", sorted(REQUESTS))
def test_no_header_is_in_the_repr_of_a_request(command: str) -> None:
    data = COMMANDS[command].replace(b"\n", b"\nAuthorization:Bearer hunter2\n", 1)
    assert "hunter2" not in repr(ask(in_state(State.CONNECTED), data))


def test_no_held_request_is_in_the_repr_of_a_commit() -> None:
    send = b"SEND\ndestination:/topic/a\ntransaction:tx\nauthorization:hunter2\n\nhunter2\0"
    *_, commit = ask_all(in_state(State.CONNECTED), send + COMMANDS["COMMIT"])
    assert isinstance(commit, events.Commit)
    assert "hunter2" not in repr(commit)


@pytest.mark.parametrize("value", [b"hunter2\xff", b"hunter2\\t"])
def test_no_secret_is_in_an_error(value: bytes) -> None:
    data = b"SEND\ndestination:/topic/a\nauthorization:" + value + b"\n\n\0"
    connection = connected()
    error = refusal(connection, data)
    assert "hunter2" not in repr(error)
    assert b"hunter2" not in connection.error(error)


# Anything at all


def test_random_frames_do_no_harm() -> None:
    """A second of it; ``python -m tests.kit.fuzz_stomp`` does it for as long as one likes."""
    summary = fuzz(1.0, seed=random.SystemRandom().getrandbits(48))
    assert summary.executions > 0


def test_the_fuzzer_repeats_a_case_by_its_seed() -> None:
    assert make_case(1) == make_case(1) != make_case(2)


def test_the_fuzzer_finds_what_raises_the_wrong_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: FrameDecoder) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr(FrameDecoder, "next_frame", broken)
    with pytest.raises(FuzzFailure, match="--seed 1 --executions 1"):
        fuzz(1.0, seed=1)


def test_who_unsubscribes_from_what_the_server_ended_is_answered_once() -> None:
    connection = connected()
    unsubscribe = b"UNSUBSCRIBE\nid:1\nreceipt:r\n\n\0"
    ask(connection, COMMANDS["SUBSCRIBE"])
    connection.end_subscription("1")
    assert ask(connection, unsubscribe).receipt == "r"
    ask(connection, COMMANDS["SUBSCRIBE"])  # the id is free
    connection.end_subscription("1")
    for number in range(connection.limits.max_subscriptions):
        connection.end_subscription(f"other-{number}")
    assert refusal(connection, unsubscribe).code == "unknown-subscription"
    assert len(connection._ended) == connection.limits.max_subscriptions
