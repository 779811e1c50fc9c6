from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from realtime.management.inquiring import InquiringCommand
from realtime.management.tables import topics_table
from realtime.nodes.answers import MAX_ROWS
from realtime.nodes.found import find_topics


class Command(InquiringCommand):
    help = "List the topics that are heard on any node, with their subscribers."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("text", nargs="?", default="", help="part of their names")
        parser.add_argument("--order", choices=("subscribers", "per_second"), default="subscribers")
        parser.add_argument("--limit", type=int, default=50, help=f"how many, {MAX_ROWS} at most")

    def handle(self, *args: Any, **options: Any) -> None:
        names = ("text", "order", "limit")
        found = self.find(lambda: find_topics(**{name: options[name] for name in names}))
        content = {"count": found.count, "topics": found.rows}
        self.show(topics_table(found.rows, found.count), content, options["json"])
