"""Addresses: from where a client comes, and what for, though proxies stand between."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final

from realtime.conf import cached_setting, conf

Network = IPv4Network | IPv6Network

FORWARDED_FOR: Final = b"x-forwarded-for"
FORWARDED_PROTO: Final = b"x-forwarded-proto"
FORWARDED_HOST: Final = b"x-forwarded-host"

#: Among ``TRUSTED_PROXIES``: whoever comes by a Unix socket.
UNIX: Final = "unix"

_SCHEMES: Final = {"http": {True: "https", False: "http"}, "websocket": {True: "wss", False: "ws"}}


def address_of(scope: dict[str, Any]) -> str:
    """Return the address in an ASGI scope, "" where there is none."""
    return str((scope.get("client") or ("",))[0])


def heed_proxy(scope: dict[str, Any]) -> None:
    """
    Let an ASGI scope be what the client sent to the proxy before us: its address, the scheme
    and the host. Of whoever is no trusted proxy nothing is believed.
    """
    peer, port = scope["client"] or ("", 0)
    if not is_trusted_proxy(peer):
        return
    headers = scope["headers"]
    if address := client_address(peer, headers):
        scope["client"] = [address, port]
    if scheme := _first(headers, FORWARDED_PROTO):
        scope["scheme"] = _SCHEMES[scope["type"]][scheme.lower() in (b"https", b"wss")]
    if host := _first(headers, FORWARDED_HOST):
        others = [(name, value) for name, value in headers if name != b"host"]
        scope["headers"] = [*others, (b"host", host)]


def client_address(peer: str, headers: Iterable[tuple[bytes, bytes]]) -> str:
    """
    Return the address of the client of a connection that comes from a peer.

    It is the last in ``X-Forwarded-For`` that is none of ``TRUSTED_PROXIES``: what stands before
    it the client itself may have written. The header of a peer that is none is not
    read.
    """
    if not is_trusted_proxy(peer):
        return peer
    address = peer
    for entry in reversed(_forwarded(headers)):
        if (named := _named(entry)) is None:
            break
        address = named
        if not is_trusted_proxy(address):
            break
    return address


@cached_setting
def is_trusted_proxy(address: str) -> bool:
    """Return whether an address, "" for a Unix socket, is one of ``TRUSTED_PROXIES``."""
    if not address:
        return UNIX in conf.TRUSTED_PROXIES
    parsed = _parse(address)
    return parsed is not None and any(parsed in network for network in trusted_networks())


@cached_setting
def trusted_networks() -> tuple[Network, ...]:
    """
    Return the networks of ``TRUSTED_PROXIES``.

    Raises:
        ValueError: If one is no network.
    """
    named = (text for text in conf.TRUSTED_PROXIES if text != UNIX)
    return tuple(ip_network(text, strict=False) for text in named)


@lru_cache(maxsize=4096)
def neighbourhood(address: str) -> str:
    """Return what one client has at least: an IPv4 address, or a network of 64 bits of IPv6."""
    parsed = _parse(address)
    if not isinstance(parsed, IPv6Address):
        return address
    return str(ip_network((int(parsed), 64), strict=False))


def _first(headers: Iterable[tuple[bytes, bytes]], wanted: bytes) -> bytes:
    """Return the first value of a header to which proxies may have added theirs."""
    value = next((value for name, value in headers if name == wanted), b"")
    return value.partition(b",")[0].strip()


def _forwarded(headers: Iterable[tuple[bytes, bytes]]) -> list[str]:
    values = [value for name, value in headers if name == FORWARDED_FOR]
    return b",".join(values).decode("latin-1").split(",") if values else []


def _named(entry: str) -> str | None:
    """Return the address in an entry, which some proxies write with a port; None if it has none."""
    text = entry.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    parsed = _parse(text)
    return None if parsed is None else str(parsed)


def _parse(address: str) -> IPv4Address | IPv6Address | None:
    """Return an address, as the IPv4 one that it stands for if it does."""
    try:
        parsed = ip_address(address.partition("%")[0])  # a zone is of the machine that names it
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return parsed if mapped is None else mapped
