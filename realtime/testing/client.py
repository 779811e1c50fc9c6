"""Client: a STOMP client for tests, whatever carries its frames; and what is expected of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final
from unittest.mock import ANY

from realtime.messages.message import Message
from realtime.stomp import Frame, FrameDecoder, encode

from .wanted import Wanted, shown

#: Seconds after which a test that waits gives up. Generous: it only ends what would hang.
TIMEOUT: Final = 15.0

#: Seconds for which nothing has to come, where nothing is expected.
QUIET_SECONDS: Final = 0.2


class Refused(AssertionError):
    """
    An ERROR that the test did not ask for.

    Args:
        frame: The ERROR.
    """

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        #: What programs are told, as in ``subscribe-denied``.
        self.code = frame.headers.get("code", "")
        super().__init__(f"{self.code}: {frame.headers.get('message', '')}")


class Client:
    """
    A STOMP client that a test looks at frame by frame.

    It promises no heart-beats and wants none, unless the headers of its CONNECT do: so it is never
    closed for its silence.

    Args:
        version: Of STOMP.
    """

    def __init__(self, version: str = "1.2") -> None:
        self.version = version
        #: What the gateway answered to CONNECT.
        self.connected: Frame | None = None
        self._decoder = FrameDecoder(
            max_frame_bytes=2**21, max_header_bytes=2**20, max_head_bytes=2**20
        )
        self._decoder.version = version
        self._frames: list[Frame] = []
        self._requests = 0

    # What carries its frames

    async def write(self, data: bytes) -> None:
        """Send bytes as they are, in one WebSocket message."""
        raise NotImplementedError

    async def read(self) -> bytes:
        """Return what one WebSocket message brings."""
        raise NotImplementedError

    async def close_code(self) -> int:
        """Wait until the gateway closes the WebSocket, and return the code of the close."""
        raise NotImplementedError

    # What it sends

    async def subscribe(self, destination: str, id: str | None = None, **headers: str) -> Frame:
        """
        Hear a destination; return the RECEIPT: whatever is published from now on comes.

        Args:
            id: Of the subscription; the destination itself without one.

        Raises:
            Refused: If it may not.
        """
        return await self.request(
            "SUBSCRIBE", {"destination": destination, "id": id or destination, **headers}
        )

    async def unsubscribe(self, id: str) -> None:
        """Hear a destination, or what else was the id of the subscription, no more."""
        await self.request("UNSUBSCRIBE", {"id": id})

    async def publish(self, destination: str, content: Any, **headers: str) -> None:
        """
        SEND text, bytes or anything else as JSON; return when the gateway has done what follows
        from it.

        Raises:
            Refused: If it may not.
        """
        message = Message.of(destination, content, headers)
        await self.request("SEND", {"destination": destination, **message.headers}, message.body)

    async def request(self, command: str, headers: dict[str, str], body: bytes = b"") -> Frame:
        """
        Send a frame and return its RECEIPT.

        Raises:
            Refused: If an ERROR comes instead.
        """
        self._requests += 1
        receipt = f"request-{self._requests}"
        await self.send(command, {**headers, "receipt": receipt}, body)
        return await self.take(
            lambda frame: frame.command == "RECEIPT" and frame.headers["receipt-id"] == receipt
        )

    async def send(
        self, command: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> None:
        """Send a frame, and wait for nothing."""
        await self.write(encode(Frame(command, dict(headers or {}), body), self.version))

    def acknowledgement(self, message: Message | Frame) -> dict[str, str]:
        """Return the headers of the ACK, or NACK, of a MESSAGE."""
        if self.version == "1.2":
            return {"id": message.headers["ack"]}
        headers = {"message-id": message.headers["message-id"]}
        if self.version == "1.1":
            headers["subscription"] = message.headers["subscription"]
        return headers

    # What comes

    async def message(self, seconds: float = TIMEOUT) -> Message:
        """
        Return the next MESSAGE, with all of its headers.

        Raises:
            TimeoutError: If none comes.
            Refused: If an ERROR does.
        """
        return _message(await self.frame("MESSAGE", seconds))

    async def frame(self, command: str | None = None, seconds: float = TIMEOUT) -> Frame:
        """
        Return the next frame, or the next of this command; others keep their turn.

        Raises:
            TimeoutError: If none comes.
            Refused: If an ERROR does, and was not asked for.
        """
        return await self.take(lambda frame: command in (None, frame.command), seconds)

    async def error(self) -> tuple[str, int]:
        """Return the code of the ERROR that ends the session, and that of the close."""
        frame = await self.frame("ERROR")
        return frame.headers["code"], await self.close_code()

    def waiting(self, command: str) -> int:
        """Return how many frames of this command have come and were not taken."""
        return sum(frame.command == command for frame in self._frames)

    async def take(self, is_wanted: Callable[[Frame], bool], seconds: float = TIMEOUT) -> Frame:
        """
        Return the next frame that is wanted; others keep their turn.

        Raises:
            TimeoutError: If none comes.
            Refused: If an ERROR does, and is not wanted.
        """
        try:
            async with asyncio.timeout(seconds):
                while True:
                    for frame in self._frames:
                        if is_wanted(frame):
                            self._frames.remove(frame)
                            return frame
                        if frame.command == "ERROR":
                            raise Refused(frame)
                    self._decoder.receive_data(await self.read())
                    self._frames += iter(self._decoder.next_frame, None)
        except TimeoutError as error:
            error.add_note(f"what came, and nobody has taken: {self._frames}")
            raise

    @property
    def messages(self) -> list[Message]:
        """Those that have come and were not taken."""
        return [_message(frame) for frame in self._frames if frame.command == "MESSAGE"]


async def assert_delivered(
    client: Client,
    destination: str,
    content: Any = ANY,
    *,
    headers: Mapping[str, str] | None = None,
    seconds: float = TIMEOUT,
) -> Message:
    """
    Assert that a client gets a message, now or soon, and return it, taken; others keep their turn.

    Args:
        client: Who has subscribed to it.
        destination: As the client hears it: ``/user/queue/news``.
        content, headers: See :class:`.Wanted`.
        seconds: How long to wait for it.
    """
    wanted = Wanted(destination, content, headers or {})
    try:
        return _message(await client.take(_is_like(wanted), seconds))
    except TimeoutError:
        came = shown(client.messages)
        raise AssertionError(f"{wanted} was not delivered; what was:\n{came}") from None


async def assert_not_delivered(
    client: Client,
    destination: str | None = None,
    content: Any = ANY,
    *,
    headers: Mapping[str, str] | None = None,
    seconds: float = QUIET_SECONDS,
) -> None:
    """
    Assert that a client has not got such a message, and does not for some seconds.

    Args:
        client: Who might have.
        destination: As the client hears it; None for any.
        content, headers: See :class:`.Wanted`.
        seconds: How long to look.
    """
    wanted = Wanted(destination, content, headers or {})
    try:
        frame = await client.take(_is_like(wanted), seconds)
    except TimeoutError:
        return
    raise AssertionError(f"this was delivered:\n{shown([_message(frame)])}")


def _is_like(wanted: Wanted) -> Callable[[Frame], bool]:
    return lambda frame: frame.command == "MESSAGE" and wanted.is_like(_message(frame))


def _message(frame: Frame) -> Message:
    headers = frame.headers
    return Message(headers["destination"], frame.body, headers, headers.get("message-id", ""))
