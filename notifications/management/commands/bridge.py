from __future__ import annotations

import asyncio
import gc
import json
import signal
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from redis import RedisError

from notifications.bridges.progress import as_table, print_progress
from notifications.bridges.routes import incoming_routes, outgoing_routes
from notifications.bridges.runner import run_bridges
from notifications.bridges.status import outgoing_status, read_status


class Command(BaseCommand):
    help = "Consume what services publish on Redis to topics, as the routing table says."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--list",
            action="store_true",
            help="show how the bridges are doing, and end; as JSON lines, unless on a terminal",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["list"]:
            self._list()
        else:
            asyncio.run(_main())

    def _list(self) -> None:
        try:
            statuses = [*read_status(incoming_routes()), *map(outgoing_status, outgoing_routes())]
        except RedisError as error:
            raise CommandError(f"Redis does not answer: {error}") from error
        if self.stdout.isatty():
            self.stdout.write(as_table(statuses))
        else:
            for status in statuses:
                self.stdout.write(json.dumps(asdict(status)))


async def _main() -> None:
    gc.freeze()  # what is loaded stays; not to look at it again makes messages a tenth cheaper
    work = asyncio.create_task(run_bridges(incoming_routes(), print_progress))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, work.cancel)
    await asyncio.wait([work])
    if not work.cancelled():
        work.result()
