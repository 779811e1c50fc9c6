from __future__ import annotations

from typing import Any

import pytest

from realtime.access.addresses import client_address, heed_proxy, neighbourhood
from realtime.apps import check_proxies


def address(peer: str, *forwarded: str) -> str:
    headers = [(b"host", b"localhost"), *((b"x-forwarded-for", f.encode()) for f in forwarded)]
    return client_address(peer, headers)


def test_without_trusted_proxies_the_header_is_ignored(settings: Any) -> None:
    settings.TRUSTED_PROXIES = []
    assert address("127.0.0.1", "1.2.3.4") == "127.0.0.1"


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("10.0.0.1", ["1.2.3.4"], "1.2.3.4"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("192.0.2.1", ["1.2.3.4"], "192.0.2.1"),
        ("10.0.0.1", ["6.6.6.6, 1.2.3.4"], "1.2.3.4"),
        ("10.0.0.1", ["6.6.6.6, 1.2.3.4, 10.1.1.1,10.2.2.2"], "1.2.3.4"),
        ("10.0.0.1", ["6.6.6.6, 1.2.3.4", "10.1.1.1"], "1.2.3.4"),
        ("10.0.0.1", ["10.3.3.3, 10.1.1.1"], "10.3.3.3"),
        ("10.0.0.1", ["6.6.6.6, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["6.6.6.6, nonsense, 10.1.1.1"], "10.1.1.1"),
        ("10.0.0.1", ["1.2.3.4:5678"], "1.2.3.4"),
        ("10.0.0.1", ["[2001:db8::7]:5678"], "2001:db8::7"),
        ("10.0.0.1", ["2001:DB8::7"], "2001:db8::7"),
        ("10.0.0.1", ["::ffff:1.2.3.4"], "1.2.3.4"),
        ("::ffff:10.0.0.1", ["1.2.3.4"], "1.2.3.4"),
        ("fd00::1", ["1.2.3.4"], "1.2.3.4"),
        ("", ["1.2.3.4"], ""),
    ],
)
def test_the_last_address_that_is_no_proxy_of_ours_counts(
    settings: Any, peer: str, forwarded: list[str], expected: str
) -> None:
    settings.TRUSTED_PROXIES = ["10.0.0.0/8", "fd00::/8"]
    assert address(peer, *forwarded) == expected


def test_a_network_may_be_one_address(settings: Any) -> None:
    settings.TRUSTED_PROXIES = ["127.0.0.1"]
    assert address("127.0.0.1", "1.2.3.4") == "1.2.3.4"
    assert address("127.0.0.2", "1.2.3.4") == "127.0.0.2"


def heeded(
    peer: tuple[str, int] | None, kind: str = "http", **forwarded: str
) -> tuple[Any, str | None, list[bytes]]:
    """Return client, scheme and hosts of a request that comes from a peer."""
    names = {name: b"x-forwarded-" + name.encode() for name in forwarded}
    headers = [(b"host", b"inside"), *((names[n], v.encode()) for n, v in forwarded.items())]
    scope = {"type": kind, "client": peer, "headers": headers}
    heed_proxy(scope)
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    return scope["client"], scope.get("scheme"), hosts


SAID = {"for": "1.2.3.4", "proto": "https", "host": "gateway.example:8443"}


@pytest.mark.parametrize(
    ("peer", "kind", "forwarded", "expected"),
    [
        (("10.0.0.1", 5), "http", SAID, (["1.2.3.4", 5], "https", [b"gateway.example:8443"])),
        (("10.0.0.1", 5), "websocket", SAID, (["1.2.3.4", 5], "wss", [b"gateway.example:8443"])),
        (None, "http", SAID, (["1.2.3.4", 0], "https", [b"gateway.example:8443"])),
        (None, "http", {}, (None, None, [b"inside"])),
        (
            ("10.0.0.1", 5),
            "http",
            {"proto": "HTTPS, http"},
            (["10.0.0.1", 5], "https", [b"inside"]),
        ),
        (("10.0.0.1", 5), "http", {"proto": "http"}, (["10.0.0.1", 5], "http", [b"inside"])),
        (("10.0.0.1", 5), "http", {"host": ""}, (["10.0.0.1", 5], None, [b"inside"])),
        (("192.0.2.1", 5), "http", SAID, (("192.0.2.1", 5), None, [b"inside"])),
    ],
)
def test_a_trusted_proxy_says_whence_a_request_comes_by_which_scheme_and_to_whom(
    settings: Any, peer: Any, kind: str, forwarded: dict[str, str], expected: Any
) -> None:
    settings.TRUSTED_PROXIES = ["10.0.0.0/8", "unix"]
    assert heeded(peer, kind, **forwarded) == expected


def test_who_comes_by_a_unix_socket_is_believed_only_if_that_is_said(settings: Any) -> None:
    for networks in ([], ["10.0.0.0/8"]):
        settings.TRUSTED_PROXIES = networks
        assert heeded(None, **SAID) == (None, None, [b"inside"])


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        ("1.2.3.4", "1.2.3.4"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("::ffff:1.2.3.4", "::ffff:1.2.3.4"),
        ("no address", "no address"),
    ],
)
def test_a_household_has_an_ipv4_address_or_a_network_of_ipv6(one: str, expected: str) -> None:
    assert neighbourhood(one) == expected


def test_networks_that_can_not_be_read_are_an_error(settings: Any) -> None:
    for networks, ids in (
        (["10.0.0.0/8", "::1", "unix"], []),
        (["10.0.0.0/99"], ["realtime.E010"]),
    ):
        settings.TRUSTED_PROXIES = networks
        assert [error.id for error in check_proxies(None)] == ids
