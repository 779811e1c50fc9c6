"""Service: what runs on each node, so that operators see it: reports, answers, the overview."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from realtime.concurrency import in_thread
from realtime.hub.notices import hear_notices
from realtime.messages.message import Message
from realtime.sessions.node import Node

from .answers import ANSWERS
from .board import board
from .inquiry import QUESTIONS
from .overview import OVERVIEW, overview
from .report import Reporter

logger = logging.getLogger(__name__)

#: Seconds between two reports.
REPORT_SECONDS: Final = 2.0

#: Its own, so that a node does not look dead while the threads for the database are busy.
_thread: Final = ThreadPoolExecutor(max_workers=1, thread_name_prefix="realtime-reports")


async def serve(node: Node) -> None:
    """Report, and answer what is asked, until cancelled; then tell that the node is gone."""
    service = Service(node)
    hearing = asyncio.create_task(hear_notices(node.hub, QUESTIONS, service.take))
    try:
        await service.report_again_and_again()
    finally:
        hearing.cancel()
        await service.end()


class Service:
    """
    The reports and answers of one node.

    Args:
        node: Which it is.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._reporter = Reporter(node)
        self._answering: set[asyncio.Task[None]] = set()

    async def report_again_and_again(self) -> None:
        """Report until cancelled; where somebody looks at the overview, send it, too."""
        while True:
            report = self._reporter.report()
            try:
                await in_thread(self._put, report, threads=_thread)
                if OVERVIEW in self._node.hub.destinations:
                    self._show(await in_thread(overview, threads=_thread))
            except Exception as error:
                self._reporter.redis_seconds = None
                logger.debug("could not report: %s", error)
            await asyncio.sleep(REPORT_SECONDS)

    def take(self, notice: dict[str, Any]) -> None:
        """Answer a question soon, if this node is asked."""
        if self._node.id in notice["to"]:
            task = asyncio.create_task(self._answer(notice), name="realtime-answer")
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)

    async def end(self) -> None:
        """Take the node's report away."""
        try:
            await in_thread(board().remove_report, self._node.id, threads=_thread)
        except Exception as error:
            logger.debug("could not take the report away: %s", error)

    def _put(self, report: dict[str, Any]) -> None:
        began = time.perf_counter()
        board().put_report(self._node.id, report)
        self._reporter.redis_seconds = time.perf_counter() - began

    async def _answer(self, notice: dict[str, Any]) -> None:
        try:
            answer = await ANSWERS[notice["question"]](self._node, **notice["with"])
        except Exception:
            logger.exception("could not answer %r", notice["question"])
            answer = None
        content = (self._node.id, answer)
        try:
            await in_thread(board().put_answer, notice["id"], content, threads=_thread)
        except Exception as error:  # whoever asks sees that this node is missing
            logger.debug("could not leave an answer: %s", error)

    def _show(self, content: dict[str, Any]) -> None:
        """Deliver the overview to those who look at it here; other nodes do so themselves."""
        headers = {"content-type": "application/json"}
        message = Message(OVERVIEW, json.dumps(content).encode(), headers)
        self._node.hub.deliver_here(message)
