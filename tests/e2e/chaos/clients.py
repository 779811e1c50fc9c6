"""Clients that follow a topic, are cut, and come back with where they were."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Final

import websockets

from realtime.history.positions import Position
from realtime.stomp import Frame
from tests.e2e.chaos.model import Kind, Step, Topic
from tests.kit.clients import StompClient

#: What a client sees of a gateway that is killed, or refuses.
CUT: Final = (websockets.WebSocketException, OSError, TimeoutError, EOFError)

#: Seconds of silence after which a client that waits looks whether it is to end.
PATIENCE: Final = 1.0

#: Seconds that a client stays connected, on average, and is away at most.
STAY_SECONDS: Final = 8.0
AWAY_SECONDS: Final = 8.0


class Refused(Exception):
    """The gateway answered with ERROR."""


class Client:
    """
    One client, on any of the gateways, for as long as it is wanted.

    Args:
        name: For people.
        topic: What it follows.
        gateways: The addresses where it may connect.
        clock: Returns the seconds since the start.
    """

    def __init__(
        self, name: str, topic: Topic, gateways: Sequence[str], clock: Callable[[], float]
    ) -> None:
        self.name = name
        self.topic = topic
        self._gateways = gateways
        self._clock = clock
        self.position: Position | None = None
        self.steps: list[Step] = []
        self.number = 0  # of the last message
        self.late: set[int] = set()  # messages that came after one with a higher number
        self.errors: Counter[str] = Counter()
        self.resumes: Counter[str] = Counter()
        self.messages = 0
        self.acknowledges = False
        self.settling = False  # from now on it stays
        self.leaving = asyncio.Event()
        self.recent: deque[str] = deque(maxlen=12)
        self._stomp: StompClient | None = None
        self._owed: Position | None = None  # what a SUBSCRIBE without receipt resumed from

    async def live(self) -> None:
        """Connect, follow, be cut and come back, until it is to leave."""
        while not self.leaving.is_set():
            at, refused = random.choice(self._gateways), False
            try:
                async with StompClient(at) as self._stomp:
                    await self._follow(self._stomp, at)
            except (*CUT, Refused) as error:
                self._note(f"{at[-11:-6]} ended: {error!r:.80}")
                refused = isinstance(error, (Refused, ConnectionRefusedError))
            except AssertionError as error:
                self.topic.anomalies.append(f"{self.name}: {error}")
            self._stomp = None
            await asyncio.sleep(random.uniform(0.2, 2) if refused else self._pause())

    def cut(self) -> None:
        """Break the connection."""
        if self._stomp is not None and hasattr(self._stomp, "websocket"):
            self._stomp.websocket.transport.abort()

    def _pause(self) -> float:
        if self.settling:
            return random.uniform(0.1, 0.5)
        return random.choice([0, random.random(), random.uniform(0, AWAY_SECONDS)])

    async def _follow(self, stomp: StompClient, at: str) -> None:
        await self._subscribe(stomp, at)
        end = self._end()
        while not self.leaving.is_set():
            with contextlib.suppress(TimeoutError):
                frame = await stomp.frame(seconds=PATIENCE)
                self._take(frame, at)
                if self.acknowledges:
                    await stomp.send("ACK", stomp.acknowledgement(frame))
            if self._clock() > end and not self.settling:
                if random.random() < 0.8:
                    self.cut()
                else:
                    await self._subscribe_again(stomp, at)
                    end = self._end()

    def _end(self) -> float:
        return self._clock() + random.expovariate(1 / STAY_SECONDS)

    async def _subscribe_again(self, stomp: StompClient, at: str) -> None:
        await stomp.send("UNSUBSCRIBE", {"id": "0", "receipt": "unsubscribed"})
        while (frame := await stomp.frame(seconds=60)).command != "RECEIPT":
            self._take(frame, at)
        await self._subscribe(stomp, at)

    async def _subscribe(self, stomp: StompClient, at: str) -> None:
        headers = {"destination": self.topic.name, "id": "0"}
        if self.acknowledges:
            headers["ack"] = "client-individual"
        if self.position is not None:
            headers["last-message-id"] = str(self.position)
        self._owed = None
        if self.position is not None and random.random() < 0.3:
            self._owed = self.position
            await stomp.send("SUBSCRIBE", headers)
            return
        await stomp.send("SUBSCRIBE", {**headers, "receipt": "subscribed"})
        frame = await stomp.frame(seconds=60)
        self._refuse_error(frame)
        self._began(frame.headers, at)

    def _began(self, headers: dict[str, str], at: str) -> None:
        """Take in the RECEIPT of a SUBSCRIBE."""
        position = Position.parse(headers["position"])
        assert position is not None
        if self.position is None:
            self.position = position
        else:
            self._resumed(headers, position, at)

    def _resumed(self, headers: dict[str, str], position: Position, at: str) -> None:
        kind: Kind = "resumed" if headers["recovered"] == "true" else "refused"
        self.resumes[kind] += 1
        self._step(kind, position, headers.get("reason", ""), at)

    def _take(self, frame: Frame, at: str) -> None:
        self._refuse_error(frame)
        headers = frame.headers
        position = Position.parse(headers["message-id"])
        assert position is not None and self.position is not None
        if self._owed is not None:
            self._told_late(frame, position, at)
        elif "recovered" in headers:
            assert (headers["recovered"], frame.body) == ("false", b""), frame
            self._step("lost", position, headers["reason"], at)
        else:
            self._message(position, int(frame.body), at)

    def _told_late(self, frame: Frame, position: Position, at: str) -> None:
        """Take in the first MESSAGE after a SUBSCRIBE that asked for no receipt."""
        self._owed = None
        if not frame.body:
            assert frame.headers["recovered"] == "false", frame
            self._step("untold", position, frame.headers["reason"], at)
            return
        before = Position(position.epoch, position.offset - 1)
        self._resumed(frame.headers, before, at)
        self._message(position, int(frame.body), at)

    def _message(self, position: Position, number: int, at: str) -> None:
        assert self.position is not None
        self.messages += 1
        self.topic.holds(str(position), number, self.name)
        if number <= self.number:
            self.late.add(number)
        self.number = max(number, self.number)
        if position.follows(self.position):
            self.position = position
        else:
            self._step("message", position, "", at)

    def _step(self, kind: Kind, after: Position, reason: str, at: str) -> None:
        assert self.position is not None
        step = Step(kind, self.position, after, reason, at[-11:-6], self._clock())
        self.steps.append(step)
        self.position = after

    def _refuse_error(self, frame: Frame) -> None:
        if frame.command == "ERROR":
            self.errors[frame.headers["code"]] += 1
            raise Refused(frame.headers["code"])

    def _note(self, text: str) -> None:
        self.recent.append(f"{self._clock():.2f} s, {text}")
