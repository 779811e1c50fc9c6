"""Published: the messages that this process publishes, recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Self
from unittest.mock import ANY

from realtime import broker
from realtime.messages.message import Checked, Message

from .wanted import Wanted, shown


class Published:
    """
    What this process publishes while it is recorded, once the channel layer has taken it: by code,
    by transactions that are committed, by the clients of a :class:`.LocalGateway`.

    ::

        with Published() as published:
            publish("/topic/toast", "saved")
        published.assert_published("/topic/toast", "saved")
    """

    def __init__(self) -> None:
        #: In their order.
        self.messages: list[Message] = []

    def __enter__(self) -> Self:
        self._before, broker.trace = broker.trace, self._publish
        return self

    def __exit__(self, *error: object) -> None:
        broker.trace = self._before

    def assert_published(
        self,
        destination: str,
        content: Any = ANY,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> list[Message]:
        """
        Assert that a message was published, once or more often; return all that are like it.

        Args:
            destination: As it was published: ``/user/alice/queue/news``.
            content, headers: See :class:`.Wanted`.
        """
        wanted = Wanted(destination, content, headers or {})
        if found := self._like(wanted):
            return found
        raise AssertionError(f"{wanted} was not published; what was:\n{shown(self.messages)}")

    def assert_not_published(
        self,
        destination: str | None = None,
        content: Any = ANY,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Assert that no such message was published; without a destination, none at all."""
        if found := self._like(Wanted(destination, content, headers or {})):
            raise AssertionError(f"this was published:\n{shown(found)}")

    def _like(self, wanted: Wanted) -> list[Message]:
        return [message for message in self.messages if wanted.is_like(message)]

    def _publish(self, checked: Sequence[Checked], publish: Callable[[], Any]) -> Any:
        """Publish, and record what was taken; the broker calls."""
        answers = publish() if self._before is None else self._before(checked, publish)
        messages = [each.message for each in checked]
        if isinstance(answers, asyncio.Future):
            answers.add_done_callback(partial(self._record_later, messages))
        else:
            self._record(messages, answers)
        return answers

    def _record_later(self, messages: list[Message], answers: asyncio.Future[list[Any]]) -> None:
        if not answers.cancelled() and answers.exception() is None:
            self._record(messages, answers.result())

    def _record(self, messages: list[Message], answers: list[Any]) -> None:
        for message, answer in zip(messages, answers, strict=True):
            if not isinstance(answer, BaseException):
                self.messages.append(message)
