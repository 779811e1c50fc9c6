"""Models: live sessions and their nodes, as an operator sees them; see ``sessions.records``."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from django.db import models
from django.utils import timezone

#: A node that has not written for so long is dead.
NODE_DEAD_AFTER: Final = timedelta(seconds=20)


class NodeQuerySet(models.QuerySet["NodeRecord"]):
    def dead(self) -> NodeQuerySet:
        return self.filter(seen_at__lt=timezone.now() - NODE_DEAD_AFTER)


class NodeRecord(models.Model):
    """One server process."""

    id = models.CharField(max_length=100, primary_key=True)
    seen_at = models.DateTimeField()

    objects = NodeQuerySet.as_manager()

    class Meta:
        verbose_name = "node"

    def __str__(self) -> str:
        return self.id


class SessionRecord(models.Model):
    """One live connection of a client."""

    id = models.CharField(max_length=36, primary_key=True)
    node = models.ForeignKey(NodeRecord, on_delete=models.CASCADE, related_name="sessions")
    user = models.CharField(max_length=150, blank=True, db_index=True)
    address = models.CharField(max_length=45, blank=True)
    user_agent = models.CharField(max_length=200, blank=True)
    version = models.CharField("STOMP version", max_length=3, blank=True)
    connected_at = models.DateTimeField("connected since")
    heard_at = models.DateTimeField("last heard")
    subscriptions = models.PositiveIntegerField(default=0)
    messages_in = models.PositiveBigIntegerField(default=0)
    messages_out = models.PositiveBigIntegerField(default=0)

    class Meta:
        verbose_name = "session"
        ordering = ("-connected_at",)

    def __str__(self) -> str:
        return self.id
