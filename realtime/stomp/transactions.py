"""Transactions: what the open ones of a connection hold until COMMIT."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from .errors import AccessDenied, FrameTooLarge, ProtocolError
from .events import Ack, Send

#: What a frame, and each of its headers, weighs in memory besides its text.
_FRAME_OVERHEAD_BYTES: Final = 256
_HEADER_OVERHEAD_BYTES: Final = 128


@dataclass(slots=True)
class _Held:
    requests: list[Send | Ack] = field(default_factory=list)
    size: int = 0


class Transactions:
    """
    The open transactions, by name; bounded in number, and in bytes all together.

    Each method raises a :class:`~.errors.StompError` at a name or a size that is not allowed.
    """

    __slots__ = ("_bytes", "_max_bytes", "_max_transactions", "_open")

    def __init__(self, *, max_transactions: int, max_bytes: int) -> None:
        self._max_transactions = max_transactions
        self._max_bytes = max_bytes
        self._open: dict[str, _Held] = {}
        self._bytes = 0  # of all

    def begin(self, name: str) -> None:
        """Open a transaction."""
        if name in self._open:
            raise ProtocolError(
                f"there is a transaction {name!r} already", code="duplicate-transaction"
            )
        if len(self._open) >= self._max_transactions:
            raise AccessDenied(
                f"more than {self._max_transactions} transactions", code="too-many-transactions"
            )
        self._open[name] = _Held()

    def hold(self, request: Send | Ack) -> None:
        """Keep a request if it belongs to a transaction."""
        if request.transaction is None:
            return
        held = self._find(request.transaction)
        size = _size(request)
        held.size += size
        self._bytes += size
        if self._bytes > self._max_bytes:
            raise FrameTooLarge(
                f"transactions hold more than {self._max_bytes} bytes", code="transaction-too-large"
            )
        held.requests.append(replace(request, transaction=None, receipt=None))

    def end(self, name: str) -> tuple[Send | Ack, ...]:
        """Close a transaction and return what it held."""
        held = self._find(name)
        del self._open[name]
        self._bytes -= held.size
        return tuple(held.requests)

    def _find(self, name: str) -> _Held:
        if name not in self._open:
            raise ProtocolError(f"there is no transaction {name!r}", code="unknown-transaction")
        return self._open[name]


def _size(request: Send | Ack) -> int:
    headers = sum(
        _HEADER_OVERHEAD_BYTES + len(name) + len(value) for name, value in request.headers.items()
    )
    body = len(request.body) if isinstance(request, Send) else 0
    return _FRAME_OVERHEAD_BYTES + headers + body
