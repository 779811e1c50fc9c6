"""Events: the topics of a stream of server-sent events, and the events of their messages."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from realtime.delivery.frames import Encoder, Frames, SharedFrames
from realtime.delivery.outbox import Outbox
from realtime.history.positions import Position, Reason
from realtime.hub.subscription import Start, Subscription
from realtime.messages.json import as_notification
from realtime.messages.message import Message
from realtime.sessions.subscriptions import queue_for_slow_clients

#: What stands in for a STOMP version in the admin.
VERSION: Final = "SSE"


class EventFrames(Frames):
    """
    Events, but for their ``id``: the same for all streams that have the topic in this place.

    Args:
        parts: The fields of each.
        place: Of the topic among those of the stream; None where they are about none.
        positions: Where the topic stands after each.
    """

    __slots__ = ("_place", "_positions")

    def __init__(
        self,
        parts: Sequence[bytes],
        messages: Sequence[Message] = (),
        encoder: Encoder | None = None,
        *,
        place: int | None = None,
        positions: Sequence[Position | None] = (None,),
    ) -> None:
        super().__init__(parts, messages, encoder)
        self._place = place
        self._positions = positions

    def one_by_one(self) -> Sequence[Frames]:
        return [
            EventFrames((part,), (message,), self.encoder, place=self._place, positions=(position,))
            for part, message, position in zip(
                self.parts, self.messages, self._positions, strict=True
            )
        ]

    def events(self) -> Iterator[dict[str, Any]]:
        """Return what :class:`.EventStream` makes the ASGI events of."""
        for part, position in zip(self.parts, self._positions, strict=True):
            yield {"place": self._place, "position": position, "data": part}


class EventEncoder(NamedTuple):
    """Make the events of messages, for streams that have their topic in this place."""

    place: int

    def encode(self, shared: SharedFrames, told: Mapping[str, str] | None = None) -> Frames:
        first, *others = shared.messages
        if told:
            first = replace(first, headers={**first.headers, **told})
        messages = [first, *others]
        return EventFrames(
            [b"data: %b\n\n" % as_json(as_notification(message)) for message in messages],
            shared.messages,
            self,
            place=self.place,
            positions=[Position.parse(message.id) for message in messages],
        )


class EventTopic:
    """
    One topic of a stream, and where the stream stands there.

    Args:
        place: Its place among the topics of the stream.
        name: As the client says it.
        destination: What the hub hears for it.
        resume: After which position the client wants what it missed.
        outbox: The stream's.
        user: Whose it is; "" for nobody's.
    """

    def __init__(
        self,
        place: int,
        name: str,
        destination: str,
        resume: Position | None,
        outbox: Outbox,
        user: str = "",
    ) -> None:
        self.name = name
        #: Of what was written last; None where there is no history.
        self.position: Position | None = None
        self._place = place
        self._resume = resume
        self._start = Start()
        self.subscription = Subscription(
            destination,
            EventEncoder(place),
            queue_for_slow_clients(outbox, destination),
            resume=resume,
            user=user,
            began=self._began,
            lost=self._lost,
        )

    def description(self) -> dict[str, str | bool]:
        """Return what the client is told at first."""
        content: dict[str, str | bool] = {"topic": self.name}
        if self._start.position is not None:
            content["position"] = str(self._start.position)
        if self._resume is not None:
            content["recovered"] = self._start.recovered is True
        return content

    def _began(self, start: Start) -> Mapping[str, str]:
        self._start = start
        self.position = start.position
        if self._resume is not None and not start.recovered:
            if start.position is not None:  # until the loss is told, who comes back has to hear it
                self.position = self._resume
            self._tell_lost(start.position, start.reason or "no-history")
        return {}

    def _lost(self, subscription: Subscription, position: Position, reason: Reason) -> None:
        self._tell_lost(position, reason)

    def _tell_lost(self, position: Position | None, reason: str) -> None:
        content = as_json({"topic": self.name, "reason": reason})
        data = b"event: lost\ndata: %b\n\n" % content
        told = Message("", b"", {"recovered": "false"}, "")  # no message takes its place
        self.subscription.deliver(
            EventFrames((data,), (told,), place=self._place, positions=(position,))
        )


def as_json(content: Any) -> bytes:
    """Return JSON on one line."""
    return json.dumps(content, ensure_ascii=False).encode()
