"""Explain: which rule decides what somebody may do, in the words of an ERROR while DEBUG is on."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser

from realtime.access.authentication import check_active, check_anonymous
from realtime.access.credentials import Login
from realtime.access.rules import Decision, decide
from realtime.destinations.names import (
    APPLICATION,
    USER_QUEUE,
    DestinationError,
    check_destination,
    check_published,
    check_topic,
    heard_destination,
)
from realtime.routes.rules import ACTIONS, NEEDS_PUBLISH, Action, service
from realtime.routes.table import routing_table
from realtime.sessions.authorization import REFRESH, needs_no_rule
from realtime.sessions.session import Session
from realtime.stomp import AccessDenied

#: What is different while DEBUG is on, and does not show in the rule.
_DEBUG = (
    "DEBUG is on: the API asks for no login and no permission, and the routing table may have"
    " other rules than without it"
)


class Command(BaseCommand):
    help = (
        "Say whether somebody may do something, and which rule decides. The exit status is 0 if it"
        " is allowed, 1 if it is denied, and 2 if that can't be said."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", type=str.lower, choices=ACTIONS, help="in any case")
        parser.add_argument("destination", help="as a client writes it, or a pattern")
        parser.add_argument("--user", metavar="LOGIN", help="left out: an anonymous client")

    def handle(self, *args: Any, **options: Any) -> None:
        user = _find_user(options["user"])
        name = options["user"] or "an anonymous client"
        try:
            why = explain(user, options["action"], options["destination"])
        except (AccessDenied, DestinationError) as error:
            self._write(f"{name}: denied: {error.message} ({error.code})")
            raise SystemExit(1) from None
        self._write(f"{name}: allowed: {why}")

    def _write(self, answer: str) -> None:
        self.stdout.write(answer)
        if settings.DEBUG:
            self.stdout.write(_DEBUG)


def explain(user: Any, action: Action, destination: str) -> str:
    """
    Return why a user, or nobody, may do something.

    Raises:
        AccessDenied: If not.
        DestinationError: If nobody may: it is no destination for that.
    """
    who = Session(login=Login(user, "explain") if user is not None else None)
    if user is not None:
        check_active(user)
    elif action in ("subscribe", "send") or not settings.DEBUG:
        check_anonymous()
    ask = {
        "subscribe": _subscribe,
        "send": _send,
        "publish": _publish,
        "history": _history,
    }[action]
    return ask(who, destination)


def _subscribe(who: Session, destination: str) -> str:
    why = "it needs no rule: a user's own"
    if not needs_no_rule(check_destination(destination)):
        why = _decide(who, "subscribe", destination)
    if destination.startswith(APPLICATION):
        routing_table().on_subscribe(destination)
    else:
        heard = heard_destination(destination, who.user_name)
        if destination.startswith(USER_QUEUE):
            why += f", {heard}"
    return why


def _send(who: Session, destination: str) -> str:
    if check_destination(destination) == REFRESH:
        return "it needs no rule: a fresh login of the same user"
    why = _decide(who, "send", destination)
    if destination.startswith(APPLICATION):
        routing_table().on_send(destination)
    else:
        check_published(destination)
    return why


def _publish(who: Session, destination: str) -> str:
    if not settings.DEBUG and not service(who, destination, {}):
        raise AccessDenied(NEEDS_PUBLISH, code="permission_denied")
    return _decide(who, "publish", check_published(destination))


def _history(who: Session, destination: str) -> str:
    return _decide(who, "history", check_topic(destination))


def _decide(who: Session, action: Action, destination: str) -> str:
    decision: Decision = decide(who, action, destination)
    if not decision.allowed:
        raise AccessDenied(decision.refusal, code=f"{action}-denied")
    return decision.why


def _find_user(name: str | None) -> Any:
    if name is None:
        return None
    users = get_user_model()
    try:
        return users._default_manager.get_by_natural_key(name)
    except users.DoesNotExist:
        raise CommandError(f"there is no user {name!r}", returncode=2) from None
