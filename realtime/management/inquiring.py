"""InquiringCommand: a command that asks all nodes, and shows a table or JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

import redis
from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console, RenderableType

from realtime.nodes.found import Found

T = TypeVar("T")

#: Columns of a table that goes to a file or a pipe.
WIDE = 200


class InquiringCommand(BaseCommand):
    """Ask nodes; what is away, and who did not answer, is said."""

    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print JSON, for programs")

    @property
    def console(self) -> Console:
        """The terminal, or whatever the output is."""
        stream: Any = getattr(self.stdout, "_out", self.stdout)
        return Console(file=stream, width=None if self.stdout.isatty() else WIDE)

    def find(self, call: Callable[[], Found]) -> Found:
        """
        Return what was found.

        Raises:
            CommandError: If Redis is away, or no node lives.
        """
        found = self.get(call)
        for node in found.missing:
            self.stderr.write(f"{node} did not answer", self.style.WARNING)
        if not found.nodes:
            raise CommandError("no node answered: none is running, or none reaches this Redis")
        return found

    def get(self, call: Callable[[], T]) -> T:
        """
        Return what a call returns.

        Raises:
            CommandError: If Redis is away.
        """
        try:
            return call()
        except redis.RedisError as error:
            raise CommandError(f"Redis is away: {error}") from None

    def show(self, table: RenderableType, content: Any, as_json: bool) -> None:
        """Print a table, or the content that it shows."""
        if as_json:
            self.stdout.write(json.dumps(content, indent=2))
        else:
            self.console.print(table)
