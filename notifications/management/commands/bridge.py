from __future__ import annotations

import asyncio
import gc
import signal
from typing import Any

from django.core.management.base import BaseCommand

from notifications.bridges.progress import print_progress
from notifications.bridges.routes import incoming_routes
from notifications.bridges.runner import run_bridges


class Command(BaseCommand):
    help = "Carry what services publish on Redis to topics, as the routing table says."

    def handle(self, *args: Any, **options: Any) -> None:
        asyncio.run(_main())


async def _main() -> None:
    gc.freeze()  # what is loaded stays; not to look at it again makes messages a tenth cheaper
    work = asyncio.create_task(run_bridges(incoming_routes(), print_progress))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, work.cancel)
    await asyncio.wait([work])
    if not work.cancelled():
        work.result()
