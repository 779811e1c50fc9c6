from __future__ import annotations

import sys
from argparse import ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from redis import RedisError

from realtime.broker import publish


class Command(BaseCommand):
    help = "Publish a message to a topic, and print its id."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("topic", help="/topic/NAME, or any destination that a service may use")
        parser.add_argument("message", help="the text; - reads it from standard input")
        parser.add_argument(
            "--header", action="append", default=[], type=_header, metavar="NAME=VALUE",
            help="a header of the message, such as content-type=application/json; may be repeated",
        )  # fmt: skip

    def handle(self, *args: Any, **options: Any) -> None:
        message = options["message"]
        content = _standard_input() if message == "-" else message
        try:
            self.stdout.write(publish(options["topic"], content, dict(options["header"])))
        except ValueError as error:
            raise CommandError(f"not published: {error}") from error
        except RedisError as error:
            raise CommandError(f"Redis did not take the message: {error}") from error


def _header(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not (name and separator):
        raise ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _standard_input() -> str | bytes:
    """Return what comes: as text, if it is UTF-8."""
    content = sys.stdin.buffer.read()
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content
