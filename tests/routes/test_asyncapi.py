"""The AsyncAPI document of a routing table: valid, and true of the table."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import jsonschema
from django.core.management import call_command

from realtime.routes import allow, authenticated, on_send, on_subscribe, service, staff
from realtime.routes.asyncapi import asyncapi
from realtime.routes.table import Table

SCHEMA = Path("tests/e2e/vendor/asyncapi/schema-3.0.0.json")


async def handle(*_: Any, **__: Any) -> None: ...


TABLE = Table(
    [
        on_send("/app/orders/<int:id>", handle, reply_to="/user/queue/orders"),
        on_subscribe("/app/settings/{part}", handle),
        allow("/app/**", send=authenticated, subscribe=authenticated),
        allow("/topic/orders/{id}/**", subscribe=staff, publish=service),
        allow("/topic/chat/*", subscribe=authenticated, send=authenticated),
        allow("/topic/closed"),
    ]
)


def test_it_is_valid(project: Path) -> None:
    schema = json.loads((project / SCHEMA).read_text())
    jsonschema.Draft7Validator(schema).validate(asyncapi(TABLE, "localhost:8080", "1.0"))


def test_it_says_what_clients_hear_and_send_and_who_may() -> None:
    document = asyncapi(TABLE, "gateway.example", "1.0")
    assert document["servers"]["gateway"] == {
        "host": "gateway.example", "pathname": "/stomp", "protocol": "stomp",
    }  # fmt: skip
    said = {
        (document["channels"][name]["address"], operation["action"], operation["summary"])
        for operation in document["operations"].values()
        for name in [operation["channel"]["$ref"].rpartition("/")[2]]
    }
    assert said == {
        ("/app/orders/{id}", "receive",
         "SEND: to a function of the gateway, which answers on /user/queue/orders"),
        ("/app/settings/{part}", "send", "SUBSCRIBE: answered once, to its client alone"),
        ("/topic/orders/{id}/{any2}", "send", "SUBSCRIBE: for staff"),
        ("/topic/chat/{any1}", "send", "SUBSCRIBE: for authenticated"),
        ("/topic/chat/{any1}", "receive", "SEND: for authenticated"),
    }  # fmt: skip
    parameters = document["channels"]["topic-orders-id"]["parameters"]
    assert parameters == {
        "id": {"description": "A segment."},
        "any2": {"description": "Any number of segments, or none."},
    }


def test_the_command_prints_that_of_the_gateway_s_own_table(project: Path) -> None:
    out = StringIO()
    call_command("asyncapi", host="gateway.example", stdout=out)
    document = json.loads(out.getvalue())
    schema = json.loads((project / SCHEMA).read_text())
    jsonschema.Draft7Validator(schema).validate(document)
    addresses = {channel["address"] for channel in document["channels"].values()}
    assert {"/topic/toast", "/topic/greetings", "/app/greet", "/app/test"} <= addresses
