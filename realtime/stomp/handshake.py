"""Handshake: what CONNECT and CONNECTED settle: the version, and heart-beats."""

from __future__ import annotations

from typing import Final

from .errors import ProtocolError

VERSIONS: Final = ("1.0", "1.1", "1.2")


def common_versions(accept_version: str) -> tuple[str, ...]:
    """
    Return the versions that both sides speak, the highest last.

    Raises:
        ProtocolError: If there is none.
    """
    spoken = [version.strip() for version in accept_version.split(",")]
    versions = tuple(version for version in VERSIONS if version in spoken)
    if not versions:
        raise ProtocolError(
            f"no common version: this server speaks {', '.join(VERSIONS)}",
            code="version-not-supported",
        )
    return versions


def negotiate_heartbeat(header: str, offered_ms: tuple[int, int]) -> tuple[int, int]:
    """
    Return the milliseconds between heart-beats out and in, 0 for none. STOMP 1.2, "Heart-beating":
    MAX(what one can, what the other wants).

    Raises:
        ProtocolError: If the header is not two numbers.
    """
    can, comma, wants = (part.strip() for part in header.partition(","))
    digits = can.isdecimal() and wants.isdecimal() and header.isascii()
    if not (comma and digits and len(header) <= 20):
        raise ProtocolError("heart-beat is not two numbers", code="bad-header")
    out, wanted = offered_ms
    heartbeat_out = max(out, int(wants)) if out and int(wants) else 0
    heartbeat_in = max(wanted, int(can)) if wanted and int(can) else 0
    return heartbeat_out, heartbeat_in
