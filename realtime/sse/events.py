"""The topics of a stream of server-sent events, and the events of their messages."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from realtime.delivery.frames import MessageFrames, Payload
from realtime.delivery.lossy_queue import LossyQueue
from realtime.delivery.outbox import Outbox
from realtime.delivery.replay import Replay
from realtime.history.positions import Position
from realtime.hub.subscription import Start, Subscription
from realtime.messages.json import as_notification
from realtime.messages.message import Message
from realtime.routes.topics import policy_of

#: What stands in for a STOMP version in the admin.
VERSION: Final = "SSE"


class EventPayload(Payload):
    """
    One event, but for its ``id``: the same for all streams that have the topic in this place.

    Args:
        data: Its fields.
        place: Of the topic among those of the stream; None where it is about none.
        position: Where the topic stands after it.
        message: Whose event it is, if it is a message's.
    """

    __slots__ = ("_message", "_place", "_position")

    def __init__(
        self,
        data: bytes,
        place: int | None = None,
        position: Position | None = None,
        message: Message | None = None,
    ) -> None:
        super().__init__(data, *((message.destination, message.id) if message else ()))
        self._place = place
        self._position = position
        self._message = message

    def with_headers(self, headers: Mapping[str, str]) -> Payload:
        if self._message is None or self._place is None or not headers:
            return self
        message = replace(self._message, headers={**self._message.headers, **headers})
        return EncodeEvent(self._place)(message)

    @property
    def event(self) -> dict[str, Any]:
        """What :class:`EventStream` makes the ASGI event of."""
        return {"place": self._place, "position": self._position, "data": self.data}


@dataclass(frozen=True, slots=True)
class EncodeEvent:
    """Make the event of a message, for streams that have its topic in this place."""

    place: int

    def __call__(self, message: Message) -> EventPayload:
        data = b"data: %b\n\n" % as_json(as_notification(message))
        return EventPayload(data, self.place, Position.parse(message.id), message)


class EventTopic:
    """
    One topic of a stream, and where the stream stands there.

    Args:
        place: Its place among the topics of the stream.
        name: As the client says it.
        destination: What the hub hears for it.
        resume: After which position the client wants what it missed.
    """

    def __init__(
        self, place: int, name: str, destination: str, resume: Position | None, outbox: Outbox
    ) -> None:
        self.name = name
        #: Of what was written last; None where there is no history.
        self.position: Position | None = None
        self._place = place
        self._resume = resume
        self._outbox = outbox
        self._start = Start()
        self._queue: LossyQueue | Replay | None = None
        policy = policy_of(destination)
        if policy != "close":
            self._queue = LossyQueue(outbox, latest=policy == "latest")
        self.subscription = Subscription(
            destination=destination,
            id=None,
            version=VERSION,
            deliver=outbox.deliver if self._queue is None else self._queue.deliver,
            resume=resume,
            begin=self._begin,
            lost=self._tell_lost,
            encode=EncodeEvent(place),
        )

    def description(self) -> dict[str, str | bool]:
        """Return what the client is told at first."""
        content: dict[str, str | bool] = {"topic": self.name}
        if self._start.position is not None:
            content["position"] = str(self._start.position)
        if self._resume is not None:
            content["recovered"] = self._start.recovered is True
        return content

    def discard(self) -> None:
        """Forget what waits."""
        if self._queue is not None:
            self._queue.discard()

    def _begin(self, start: Start, missed: Sequence[MessageFrames]) -> None:
        self._start = start
        self.position = start.position
        if self._resume is not None and not start.recovered:
            if start.position is not None:  # until the loss is told, who comes back has to hear it
                self.position = self._resume
            self._tell_lost(start.position, start.reason or "no-history")
        elif missed and self._queue is None:
            key, done = self.subscription.key, self._replayed
            self._queue = Replay(self._outbox, missed, key, {}, done)
            self.subscription.deliver = self._queue.deliver
        else:
            for frames in missed:
                self.subscription.deliver(frames.frame_for(self.subscription.key))

    def _replayed(self) -> None:
        self._queue = None
        self.subscription.deliver = self._outbox.deliver

    def _tell_lost(self, position: Position | None, reason: str) -> None:
        content = as_json({"topic": self.name, "reason": reason})
        data = b"event: lost\ndata: %b\n\n" % content
        self.subscription.deliver(EventPayload(data, self._place, position))


def as_json(content: Any) -> bytes:
    """Return JSON on one line."""
    return json.dumps(content, ensure_ascii=False).encode()
