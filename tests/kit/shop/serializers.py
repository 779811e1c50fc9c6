from __future__ import annotations

from typing import Any

from rest_framework import serializers

from .models import Order


class OrderSerializer(serializers.ModelSerializer[Any]):
    shouted = serializers.SerializerMethodField()

    class Meta:
        model = Order
        fields = ["pk", "status", "shouted"]

    def get_shouted(self, order: Order) -> str:
        return order.status.upper()
