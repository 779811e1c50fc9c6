"""Frames, the wire unit of STOMP: bytes to :class:`Frame` and back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple

from .errors import FrameError, FrameTooLarge
from .escapes import TO_ESCAPE, escape, escape_name, unescape

HEARTBEAT: Final = b"\n"

#: Which headers never appear in a ``repr`` (and so in no log).
SECRET_HEADERS: Final = frozenset({"passcode", "authorization", "cookie", "ticket"})

_UNESCAPED_COMMANDS: Final = frozenset({"CONNECT", "STOMP", "CONNECTED"})
_BLANK_LINE: Final = re.compile(rb"\n\r?\n")
_PLAIN_HEAD: Final = re.compile(rb"([A-Z]{3,11})\n((?:[^\0\r\n\\:]++:[^\0\r\n\\]*+\n)*+)\n")
#: What may stand between frames: line ends, and the NUL that some clients send once more after one.
_BETWEEN: Final = re.compile(rb"[\r\n\0]*")
_RECEIPT: Final = re.compile(rb"(?:(?!\r?\n)[^\n]*\n)*?receipt:([^\n]*)\n")
_LENGTH: Final = "content-length"
_LONGEST_COMMAND: Final = len("UNSUBSCRIBE\r")


@dataclass(slots=True)
class Frame:
    """One STOMP frame, a value; of repeated headers only the first counts."""

    command: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def __repr__(self) -> str:
        headers = {
            name: "***" if name.lower() in SECRET_HEADERS else value
            for name, value in self.headers.items()
        }
        return f"Frame({self.command!r}, {headers!r}, {len(self.body)} bytes)"


def encode(frame: Frame, version: str = "1.2") -> bytes:
    """Return the frame's bytes; a body always comes with its ``content-length``."""
    return encode_head(frame, version) + b"\n" + frame.body + b"\0"


def encode_head(frame: Frame, version: str) -> bytes:
    """Return command and header lines, without the blank line that ends them."""
    headers = frame.headers
    if frame.body or "content-length" in headers:
        headers = {**headers, "content-length": str(len(frame.body))}
    if frame.command in _UNESCAPED_COMMANDS:
        version = "1.0"
    return frame.command.encode() + b"\n" + encode_headers(headers, version)


def encode_headers(headers: Mapping[str, str], version: str) -> bytes:
    """Return header lines, each with its line end."""
    return b"".join([encode_header(name, value, version) for name, value in headers.items()])


def encode_header(name: str, value: str, version: str) -> bytes:
    """Return a header's line, with its line end."""
    if TO_ESCAPE.search(f"{name}{value}"):
        name, value = escape_name(name, version), escape(value, version)
    return f"{name}:{value}\n".encode()


#: The same, for what is the same in many frames.
encode_common_header: Final = lru_cache(maxsize=1024)(encode_header)


class _Head(NamedTuple):
    """What is known of a frame before its body is complete."""

    command: str
    headers: dict[str, str]
    body_start: int
    content_length: int | None


class FrameDecoder:
    """
    Turn bytes, cut anywhere, into frames.

    Feed it what comes with :meth:`receive_data`, then call :meth:`next_frame` until it
    returns None. Cost and memory are linear in what was fed, and no more than one
    frame of ``max_frame_bytes`` is kept.

    Set :attr:`version` when it is negotiated; :attr:`max_frame_bytes` may change too.
    """

    def __init__(
        self,
        *,
        max_frame_bytes: int = 64 * 1024,
        max_headers: int = 100,
        max_header_bytes: int = 8 * 1024,
        max_head_bytes: int | None = None,
    ) -> None:
        self.version = "1.2"
        self.max_frame_bytes = max_frame_bytes
        self.max_headers = max_headers
        self.max_header_bytes = max_header_bytes
        self.max_head_bytes = max_head_bytes
        self._buffer = bytearray()
        self._scanned = 0  # bytes of the buffer that need no second look
        self._head: _Head | None = None

    def receive_data(self, data: bytes) -> None:
        """Take in the next bytes, of any number."""
        self._buffer += data

    def next_frame(self) -> Frame | None:
        """
        Return the next complete frame, or None until more data comes.

        Raises:
            FrameError: If the bytes are no frame. Nothing after it can be trusted.
            FrameTooLarge: As soon as a limit is certain to be passed.
        """
        buffer = self._buffer
        if not buffer:
            return None
        head = self._head
        try:
            if head is None:
                if not self._scanned and buffer[0] in b"\r\n\0":
                    self._skip_to_frame()
                head = self._head = self._plain_head() or self._next_head()
                if head is None:
                    return None
            body_end = self._body_end(head)
        except FrameError as error:
            error.receipt = self._receipt()
            raise
        if body_end is None:
            return None
        command, headers, body_start, _ = head
        body = bytes(buffer[body_start:body_end])
        del buffer[: body_end + 1]
        self._scanned = 0
        self._head = None
        return Frame(command, headers, body)

    def _receipt(self) -> str | None:
        """Return the receipt that the bad frame asks for, if as much of its head is good."""
        match = _RECEIPT.match(self._buffer)
        if match is None or len(match[1]) > self.max_header_bytes:
            return None
        escaped = not self._buffer.startswith((b"CONNECT", b"STOMP"))
        value = match[1].decode(errors="replace").removesuffix("\r")
        if self.version == "1.0":
            return value.strip(" ")
        try:
            return unescape(value, self.version) if escaped else value
        except FrameError:
            return value

    def _skip_to_frame(self) -> None:
        between = _BETWEEN.match(self._buffer)
        count = between.end() if between else 0
        del between  # it pins the buffer
        del self._buffer[:count]

    def _plain_head(self) -> _Head | None:
        """
        Return the head if it is complete and plain, as nearly all are: without escapes, carriage
        returns, and what is wrong. It takes a third of the time.
        """
        if self._scanned or self.version == "1.0":
            return None
        match = _PLAIN_HEAD.match(self._buffer, 0, self.max_header_bytes)
        if match is None:
            return None
        command, lines, body_start = match[1], match[2], match.end()
        del match  # it pins the buffer
        try:
            pairs = [line.split(":", 1) for line in lines.decode().split("\n")[:-1]]
        except UnicodeDecodeError:
            return None
        headers: dict[str, str] = dict(pairs)
        if len(headers) < len(pairs) or len(pairs) > self.max_headers:
            return None  # the first of repeated ones counts
        self._check_head_size(body_start)
        self._scanned = body_start
        length = self._content_length(headers, body_start) if _LENGTH in headers else None
        return _Head(command.decode(), headers, body_start, length)

    def _next_head(self) -> _Head | None:
        self._check_command_line()
        end, body_start = self._find_blank_line()
        nul = self._buffer.find(b"\0", self._scanned, end if end >= 0 else len(self._buffer))
        if nul >= 0:
            raise FrameError("a frame ended before its blank line", code="bad-frame")
        if end < 0:
            # The blank line may be cut: "\n" + "\n", or "\n" + "\r\n".
            self._scanned = max(0, len(self._buffer) - 2)
            self._check_head_size(len(self._buffer))
            return None
        self._check_head_size(body_start)
        self._scanned = body_start
        return self._parse_head(bytes(self._buffer[:end]), body_start)

    def _check_command_line(self) -> None:
        """Tell whoever speaks another protocol at once, not when the buffer is full."""
        if (
            len(self._buffer) > _LONGEST_COMMAND
            and self._buffer.find(b"\n", 0, _LONGEST_COMMAND + 1) < 0
        ):
            raise FrameError(
                "this is not a STOMP frame: it does not start with a command", code="bad-frame"
            )

    def _find_blank_line(self) -> tuple[int, int]:
        """Return where the head ends and where the body starts, or (-1, -1)."""
        match = _BLANK_LINE.search(self._buffer, self._scanned)
        return match.span() if match is not None else (-1, -1)

    def _parse_head(self, data: bytes, body_start: int) -> _Head:
        command, *lines = self._decode_head(data).split("\n")
        if len(lines) > self.max_headers:
            raise FrameTooLarge(f"more than {self.max_headers} headers", code="too-many-headers")
        if len(data) > self.max_header_bytes:
            self._check_header_sizes(lines)
        headers: dict[str, str] = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon or not name:
                raise FrameError("a header line without a name and a colon", code="bad-header")
            if name not in headers:  # STOMP 1.2, "Repeated Header Entries"
                headers[name] = value
        if self.version == "1.0":  # its own examples pad; later versions forbid to trim
            headers = {name: value.strip(" ") for name, value in headers.items()}
        if b"\\" in data and command not in _UNESCAPED_COMMANDS:
            headers = self._unescape(headers)
        return _Head(command, headers, body_start, self._content_length(headers, body_start))

    def _decode_head(self, data: bytes) -> str:
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").removesuffix(b"\r")
        if not data.partition(b"\n")[0].isascii():
            raise FrameError("a command that is not ASCII", code="bad-frame")
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise FrameError("a header that is not UTF-8", code="bad-header") from None

    def _check_header_sizes(self, lines: list[str]) -> None:
        if max(len(line.encode()) for line in lines) > self.max_header_bytes:
            raise FrameTooLarge(
                f"a header line of more than {self.max_header_bytes} bytes", code="header-too-long"
            )

    def _unescape(self, headers: dict[str, str]) -> dict[str, str]:
        unescaped: dict[str, str] = {}
        for name, value in headers.items():
            unescaped.setdefault(unescape(name, self.version), unescape(value, self.version))
        return unescaped

    def _content_length(self, headers: dict[str, str], body_start: int) -> int | None:
        text = headers.get(_LENGTH)
        if text is None:
            return None
        digits = text.strip()
        if not (digits.isascii() and digits.isdigit()):
            raise FrameError("content-length is not a number", code="bad-header")
        # int() takes time quadratic in the digits: 20 are more than any limit needs.
        length = int(digits) if len(digits) <= 20 else self.max_frame_bytes
        self._check_size(body_start + length)
        return length

    def _body_end(self, head: _Head) -> int | None:
        """Return the index of the NUL that ends the frame, or None if it has not come."""
        if head.content_length is None:
            end = self._buffer.find(b"\0", self._scanned)
            self._scanned = len(self._buffer)
            self._check_size(end if end >= 0 else len(self._buffer))
            return end if end >= 0 else None
        end = head.body_start + head.content_length
        if len(self._buffer) <= end:
            return None
        if self._buffer[end] != 0:
            raise FrameError("the body is longer than its content-length", code="bad-frame")
        return end

    def _check_head_size(self, size: int) -> None:
        self._check_size(size)
        if self.max_head_bytes is not None and size > self.max_head_bytes:
            raise FrameTooLarge(
                f"headers of more than {self.max_head_bytes} bytes", code="header-too-long"
            )

    def _check_size(self, size: int) -> None:
        if size > self.max_frame_bytes:
            raise FrameTooLarge(
                f"a frame of more than {self.max_frame_bytes} bytes", code="frame-too-large"
            )
