from __future__ import annotations

from typing import Any

from django.db import models

from realtime import realtime_model


def of_its_shop(item: Item) -> str | None:
    return f"/topic/shops/{item.shop}" if item.shop else None


@realtime_model("/topic/orders/{pk}", serializer="tests.kit.shop.serializers.OrderSerializer")
@realtime_model("/topic/kept/orders", fields=["status"], outbox=True)
class Order(models.Model):
    status = models.CharField(max_length=20, default="new")
    note = models.TextField(blank=True)

    class Meta:
        app_label = "shop"

    def __str__(self) -> str:
        return f"{type(self).__name__} {self.pk}"


@realtime_model(of_its_shop)
@realtime_model("/topic/by-name/{name}")
class Item(models.Model):
    name = models.CharField(max_length=100)
    shop = models.CharField(max_length=20, blank=True)
    price = models.DecimalField(max_digits=6, decimal_places=2, default=0)
    since = models.DateField(null=True)
    file = models.FileField(blank=True)
    tags: Any = models.JSONField(default=list)
    count: Any = models.IntegerField(default=0)
    order = models.ForeignKey(Order, models.CASCADE, null=True)

    class Meta:
        app_label = "shop"

    def __str__(self) -> str:
        return f"{type(self).__name__} {self.pk}"
