from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from realtime.management.inquiring import InquiringCommand
from realtime.management.tables import sessions_table
from realtime.nodes.answers import MAX_ROWS, ORDERS
from realtime.nodes.found import find_sessions


class Command(InquiringCommand):
    help = "List the live sessions of all nodes, as the nodes know them now."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("text", nargs="?", default="", help="part of an id, user, topic, ...")
        parser.add_argument("--user", help="of this user; an empty one for anonymous clients")
        parser.add_argument("--topic", help="that hear this destination")
        parser.add_argument("--address", help="from this address")
        parser.add_argument("--slow", action="store_const", const=True, help="only slow ones")
        parser.add_argument("--order", choices=ORDERS, default="newest", help="the most first")
        parser.add_argument("--limit", type=int, default=50, help=f"how many, {MAX_ROWS} at most")

    def handle(self, *args: Any, **options: Any) -> None:
        names = ("text", "user", "topic", "address", "slow", "order", "limit")
        found = self.find(lambda: find_sessions(**{name: options[name] for name in names}))
        content = {"count": found.count, "sessions": found.rows}
        self.show(sessions_table(found.rows, found.count), content, options["json"])
