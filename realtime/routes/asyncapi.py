"""AsyncAPI: what clients hear and send, as a document that the routing table makes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from realtime.destinations.names import APPLICATION

from .applications import ApplicationRoute, ForwardRoute, SendRoute, SubscribeRoute
from .rules import Rule
from .table import Table

#: A variable of a pattern, of a rule or as Django writes it, and a wildcard.
_OPEN: Final = re.compile(r"\{(\w+)\}|<(?:(\w+):)?(\w+)>|(\*\*?)")

_ANY: Final = {"name": "message", "payload": {}, "description": "A text, JSON, or bytes."}

Document = dict[str, Any]


def asyncapi(table: Table, host: str, version: str) -> Document:
    """
    Return the AsyncAPI 3.0 document of a routing table, which JSON can say.

    An operation is the gateway's, as AsyncAPI wants it: ``receive`` is what clients SEND, ``send``
    what they hear. A rule that denies an action makes no operation of it.

    Args:
        host: Where the gateway is, with its port.
        version: Its release.
    """
    channels: Document = {}
    operations: Document = {}
    for name, channel, operation in _operations(table):
        channels.setdefault(name, channel)
        key = f"{operation['action']}-{name}"
        operations.setdefault(key, {**operation, "channel": {"$ref": f"#/channels/{name}"}})
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "STOMP gateway", "version": version},
        "servers": {"gateway": {"host": host, "pathname": "/stomp", "protocol": "stomp"}},
        "channels": channels,
        "operations": operations,
    }


def _operations(table: Table) -> Iterator[tuple[str, Document, Document]]:
    """Return the channel and the operation of each entry that has some."""
    for route in table.entries(ApplicationRoute):
        yield _name(route.pattern), _channel(route.pattern), _of_application(route)
    for rule in table.entries(Rule):
        if rule.pattern.startswith(APPLICATION) or rule.pattern == "/**":
            continue  # what is there says the entry that answers it
        for action, operation in (("subscribe", "send"), ("send", "receive")):
            if requirement := rule.requirements.get(action):  # type: ignore[call-overload]
                summary = f"{action.upper()}: for {requirement.name}"
                yield (
                    _name(rule.pattern),
                    _channel(rule.pattern),
                    {"action": operation, "summary": summary},
                )


def _of_application(route: ApplicationRoute) -> Document:
    if isinstance(route, SubscribeRoute):
        return {"action": "send", "summary": "SUBSCRIBE: answered once, to its client alone"}
    summary = "SEND: to a function of the gateway"
    if isinstance(route, ForwardRoute):
        summary = "SEND: passed on to services"
    elif isinstance(route, SendRoute) and route.reply_to is not None:
        summary += f", which answers on {route.reply_to}"
    return {"action": "receive", "summary": summary}


def _channel(pattern: str) -> Document:
    parameters: Document = {}

    def open_part(found: re.Match[str]) -> str:
        name = found[1] or found[3] or f"any{len(parameters) + 1}"
        parameters[name] = {"description": _description(found)}
        return f"{{{name}}}"

    address = _OPEN.sub(open_part, pattern)
    channel: Document = {"address": address, "messages": {"message": _ANY}}
    return {**channel, "parameters": parameters} if parameters else channel


def _description(found: Mapping[int, str] | re.Match[str]) -> str:
    if found[4] == "**":
        return "Any number of segments, or none."
    return f"A segment, {found[2]}." if found[2] else "A segment."


def _name(pattern: str) -> str:
    """Return a name for a channel: what AsyncAPI allows in a key."""
    return re.sub(r"[^A-Za-z0-9_\-]+", "-", pattern).strip("-") or "all"
