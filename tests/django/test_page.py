"""docs/django.md says what there is."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.mail import EmailMessage
from django.db import connection, models, transaction
from django.test.utils import isolate_apps
from rest_framework import serializers

import realtime
from realtime.conf import NAMES
from realtime.django import commit
from realtime.messages import Checked
from realtime.models import OutboxMessage
from realtime.routes.table import Table
from tests.django.conftest import bodies
from tests.routing import OrderSerializer


@pytest.fixture
def page(project: Path) -> str:
    return (project / "docs" / "django.md").read_text()


def test_it_names_all_that_is_imported_from_realtime_and_no_more(page: str) -> None:
    imported = {
        name
        for line in re.findall(r"^from realtime import (.*)$", page, re.M)
        for name in line.split(", ")
    }
    table = set(re.findall(r"`@?(\w+)(?:\(.*?\))?`", page.partition("## ")[0]))
    public = {*realtime.__all__} - {"__version__"}
    assert imported <= public
    assert public <= table
    assert all(callable(getattr(realtime, name)) for name in public)


def test_its_settings_are_there(page: str) -> None:
    assert {"STOMP_OUTBOX", "STOMP_NOTIFY_FALLBACK"} <= set(re.findall(r"STOMP_\w+", page))
    assert set(re.findall(r"STOMP_\w+", page)) <= set(NAMES)


def test_its_routing_table_is_one(page: str) -> None:
    [block] = re.findall(r"```python\n([^`]*routes = \[[^`]*)```", page)
    names: dict[str, Any] = {"OrderSerializer": OrderSerializer}
    exec(block, names)
    route, _ = Table(names["routes"]).on_send("/app/orders")
    assert route.body is OrderSerializer


def run(page: str, title: str) -> dict[str, Any]:
    """Return what the first block of a section defines; its models are the shop's."""
    section = page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    names: dict[str, Any] = {"__name__": "tests.kit.shop.of_the_page"}
    exec(re.findall(r"```python\n(.*?)```", section, re.DOTALL)[0], names)
    return names


@contextmanager
def table_of(model: type[models.Model]) -> Iterator[None]:
    with connection.schema_editor() as editor:
        editor.create_model(model)
    yield
    with connection.schema_editor() as editor:
        editor.delete_model(model)


class StatusSerializer(serializers.Serializer[Any]):
    status = serializers.CharField()


@pytest.mark.usefixtures("shop_app", "transactional_db")
@isolate_apps()
def test_its_rows_and_its_transaction_are_published(
    page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    there: Any = ModuleType("shop.serializers")
    there.OrderSerializer = StatusSerializer
    monkeypatch.setitem(sys.modules, "shop", ModuleType("shop"))
    monkeypatch.setitem(sys.modules, "shop.serializers", there)
    own: list[str] = []
    publish_many = commit.publish_many

    def look(messages: list[Checked]) -> list[str]:
        for each in messages:
            if each.message.destination == "/user/alice/queue/orders":
                own.append(each.message.json()["event"])
        return publish_many(messages)

    monkeypatch.setattr(commit, "publish_many", look)
    order_model = run(page, "Rows")["Order"]
    with table_of(order_model):
        order = order_model.objects.create(pk=7, customer_name="alice")
        run(page, "Transactions")["pay"](order)
        order.delete()
    [created, paid, told, deleted] = map(json.loads, bodies("/topic/orders/7"))
    assert created == {"event": "created", "pk": 7, "data": {"status": "new"}}
    assert paid == created | {"event": "updated", "data": {"status": "paid"}}
    assert told == {"status": "paid"}
    assert deleted == {"event": "deleted", "pk": 7}
    assert own == ["created", "updated", "deleted"]


@pytest.mark.usefixtures("shop_app", "transactional_db")
@isolate_apps()
def test_what_it_says_is_not_lost_is_in_the_outbox(page: str) -> None:
    names = run(page, "None lost")
    with table_of(names["Order"]):
        names["Order"].objects.create()
        names["announce"]("hello")
    destinations = OutboxMessage.objects.order_by("pk").values_list("destination", flat=True)
    assert list(destinations) == ["/topic/orders/1", "/topic/news"]


@pytest.mark.django_db(transaction=True)
def test_its_mail_is_sent_to_who_is_not_online_once_it_is_committed(
    page: str, mailoutbox: list[EmailMessage]
) -> None:
    shipped = run(page, "One user")["shipped"]
    alice = User.objects.create_user("alice", "alice@example.org")
    with transaction.atomic():
        shipped(SimpleNamespace(pk=7, customer=alice))
        assert mailoutbox == []
    [mail] = mailoutbox
    assert (mail.to, mail.body) == (["alice@example.org"], "Your order 7")


def test_its_code_is_python(page: str) -> None:
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) > 5
    for block in blocks:
        compile(block, "docs/django.md", "exec")
