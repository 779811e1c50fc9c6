from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from realtime import __version__
from realtime.routes.asyncapi import asyncapi
from realtime.routes.table import routing_table


class Command(BaseCommand):
    help = "Print the AsyncAPI 3.0 document of the routing table: what clients hear and send."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="localhost:8080", help="where the gateway is")

    def handle(self, *args: Any, host: str, **options: Any) -> None:
        document = asyncapi(routing_table(), host, __version__)
        self.stdout.write(json.dumps(document, indent=2, ensure_ascii=False))
