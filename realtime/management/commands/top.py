from __future__ import annotations

import contextlib
import time
from typing import Any

from django.core.management.base import CommandParser
from rich.console import Group, RenderableType
from rich.live import Live

from realtime.management.inquiring import InquiringCommand
from realtime.management.tables import nodes_table, problems, sessions_table, topics_table
from realtime.nodes.found import find_sessions, find_topics
from realtime.nodes.overview import overview

#: How many topics and slow sessions are shown.
ROWS = 10


class Command(InquiringCommand):
    help = "Show nodes, the busiest topics and slow sessions, again and again; Ctrl-C ends it."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--once", action="store_true", help="show it once, and end")
        parser.add_argument("--seconds", type=float, default=2.0, help="between two looks")

    def handle(self, *args: Any, once: bool, seconds: float, **options: Any) -> None:
        if once or options["json"]:
            self.show(*self._look(), options["json"])
            return
        with contextlib.suppress(KeyboardInterrupt), Live(console=self.console) as live:
            while True:
                live.update(self._look()[0], refresh=True)
                time.sleep(seconds)

    def _look(self) -> tuple[RenderableType, dict[str, Any]]:
        """Return what is shown now, and its content."""
        content = self.get(overview)
        busy = self.get(lambda: find_topics(order="per_second", limit=ROWS))
        slow = self.get(lambda: find_sessions(slow=True, order="waiting", limit=ROWS))
        shown: list[RenderableType] = [
            nodes_table(content),
            *problems(content["problems"]),
            topics_table(busy.rows, busy.count),
            *([sessions_table(slow.rows, slow.count)] if slow.rows else []),
        ]
        return Group(*shown), {**content, "topics": busy.rows, "slow_sessions": slow.rows}
