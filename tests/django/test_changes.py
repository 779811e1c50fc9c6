"""What becomes of a model's rows, as messages."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import models, transaction
from django.db.models import F
from django.test.utils import isolate_apps

from realtime import realtime_model
from realtime.django import outbox
from realtime.models import OutboxMessage
from tests.django.conftest import bodies
from tests.kit.shop.models import Item, Order

pytestmark = pytest.mark.usefixtures("shop")


def changes(topic: str) -> list[Any]:
    return [json.loads(body) for body in bodies(topic)]


def test_rows_that_are_saved_and_deleted_become_messages() -> None:
    order = Order.objects.create()
    topic = f"/topic/orders/{order.pk}"
    order.status = "paid"
    order.save()
    pk = order.pk
    order.delete()
    assert changes(topic) == [
        {"event": "created", "pk": pk, "data": {"pk": pk, "status": "new", "shouted": "NEW"}},
        {"event": "updated", "pk": pk, "data": {"pk": pk, "status": "paid", "shouted": "PAID"}},
        {"event": "deleted", "pk": pk},
    ]


def test_they_are_published_with_the_commit_or_not_at_all() -> None:
    with transaction.atomic():
        order = Order.objects.create()
        topic = f"/topic/orders/{order.pk}"
        assert changes(topic) == []
        transaction.set_rollback(True)
    assert changes(topic) == []
    with transaction.atomic():
        order.save(force_insert=True)
        order.status = "paid"
        order.save()
    assert [each["event"] for each in changes(topic)] == ["created", "updated"]


def test_without_a_serializer_the_data_are_the_columns() -> None:
    order = Order.objects.create()
    item = Item.objects.create(
        name="Zoë & Co/7*", shop="7", price=Decimal("1.50"), since=date(2027, 1, 31), order=order
    )
    [change] = changes("/topic/shops/7")
    assert change == {
        "event": "created",
        "pk": item.pk,
        "data": {
            "id": item.pk,
            "name": "Zoë & Co/7*",
            "shop": "7",
            "price": "1.50",
            "since": "2027-01-31",
            "file": "",
            "tags": [],
            "count": 0,
            "order_id": order.pk,
        },
    }


def test_a_value_is_one_segment_whatever_it_is() -> None:
    Item.objects.create(name="Zoë & Co/7*")
    assert len(changes("/topic/by-name/Zo%C3%AB%20%26%20Co%2F7%2A")) == 1


def test_a_function_may_say_that_there_is_no_message() -> None:
    Item.objects.create(name="a", shop="")
    Item.objects.create(name="b", shop="8")
    assert [each["data"]["name"] for each in changes("/topic/shops/8")] == ["b"]


def test_what_a_queryset_deletes_and_what_goes_with_it_is_told() -> None:
    order = Order.objects.create()
    Item.objects.create(name="a", shop="9", order=order)
    Order.objects.all().delete()
    assert [each["event"] for each in changes("/topic/shops/9")] == ["created", "deleted"]
    assert changes(f"/topic/orders/{order.pk}")[-1]["event"] == "deleted"


def test_without_a_value_there_is_no_message() -> None:
    Item.objects.create(name="")
    Item.objects.create(name="b")
    assert changes("/topic/by-name/") == []
    assert len(changes("/topic/by-name/b")) == 1


def test_the_data_are_those_of_the_row_however_they_were_assigned() -> None:
    item = Item.objects.create(name="a", shop="12", price="1.50", since="2027-01-31", count="7")
    item.count = F("count") + 1
    item.save()
    [created, updated] = [each["data"] for each in changes("/topic/shops/12")]
    assert (created["price"], created["since"], created["count"]) == ("1.50", "2027-01-31", 7)
    assert updated == created | {"count": 8}


def test_what_is_done_in_bulk_is_not() -> None:
    Item.objects.bulk_create([Item(name="a", shop="10")])
    Item.objects.update(name="b")
    item = Item.objects.get()
    Item.objects.bulk_update([item], ["name"])
    item.save_base(raw=True)  # as fixtures do
    assert changes("/topic/shops/10") == []


def test_with_an_outbox_they_are_rows_of_the_same_transaction() -> None:
    with transaction.atomic():
        Order.objects.create(status="never")
        transaction.set_rollback(True)
    order = Order.objects.create(status="paid")
    [row] = OutboxMessage.objects.all()
    content = {"event": "created", "pk": order.pk, "data": {"status": "paid"}}
    assert (row.destination, json.loads(row.body)) == ("/topic/kept/orders", content)
    assert row.headers == {"content-type": "application/json"}
    assert changes("/topic/kept/orders") == []  # until it is relayed


def test_a_row_and_its_row_of_the_outbox_are_committed_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    order = Order.objects.create()

    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(outbox, "keep", die)
    order.status = "lost"
    with pytest.raises(KeyboardInterrupt):
        order.save()
    with pytest.raises(KeyboardInterrupt):
        Order.objects.create()
    with pytest.raises(KeyboardInterrupt):
        order.delete()
    assert [each.status for each in Order.objects.all()] == ["new"]


def test_what_can_t_be_published_is_said_to_who_saves_it() -> None:
    with pytest.raises(ValueError, match="over the limit"), transaction.atomic():
        Item.objects.create(name="a", shop="11", tags=["x" * 100_000])
    assert not Item.objects.exists()


@pytest.mark.parametrize(
    ("destination", "options", "says"),
    [
        ("/app/orders/{pk}", {}, "nobody hears"),
        ("/topic/orders/{pk", {}, "a brace that is part of no {name}"),
        ("/topic/orders/{number}", {}, "Order has no attribute 'number'"),
        ("/topic/orders/{pk}", {"fields": ["status", "price"]}, "Order has no column 'price'"),
    ],
)
def test_it_checks_itself_when_it_is_made(
    destination: str, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        realtime_model(destination, **options)(Order)


@isolate_apps()
def test_an_abstract_model_has_no_rows_to_tell_of() -> None:
    class Thing(models.Model):
        class Meta:
            abstract = True

    with pytest.raises(ValueError, match="Thing is abstract"):
        realtime_model("/topic/things/{pk}")(Thing)


def test_no_password_is_published_by_mistake() -> None:
    with pytest.raises(ValueError, match="User has a password"):
        realtime_model("/topic/users/{pk}")(User)


def test_the_same_model_twice_is_told_once() -> None:
    decorate = realtime_model("/topic/twice/{pk}", fields=["status"])
    assert decorate(decorate(Order)) is Order
    order = Order.objects.create()
    assert len(changes(f"/topic/twice/{order.pk}")) == 1
    for signal in (models.signals.post_save, models.signals.post_delete):
        assert signal.disconnect(sender=Order, dispatch_uid="realtime /topic/twice/{pk}")
