"""Limits: how much a client may ask for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may ask of the server; sizes in bytes."""

    max_frame_bytes: int = 64 * 1024
    max_connect_frame_bytes: int = 64 * 1024
    max_headers: int = 100
    max_header_bytes: int = 8 * 1024
    max_head_bytes: int = 64 * 1024  # command and headers together
    max_subscriptions: int = 128
    max_transactions: int = 16
    max_transaction_bytes: int = 512 * 1024  # of all open transactions together
