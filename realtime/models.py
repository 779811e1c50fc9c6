"""
Models: which sessions live, and on which node, so that operators can search them; and the outbox.

What changes with each message is not here: nodes are asked for it, see :mod:`realtime.nodes`. Rows
are written by ``sessions.records``; who is dead says the database's clock, which all nodes share.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from django.db import models
from django.db.models.functions import Now

#: A node that has not written for so long is dead.
NODE_DEAD_AFTER: Final = timedelta(seconds=20)


class NodeQuerySet(models.QuerySet["NodeRecord"]):
    def dead(self) -> NodeQuerySet:
        return self.filter(seen_at__lt=Now() - NODE_DEAD_AFTER)


class NodeRecord(models.Model):
    """One server process."""

    id = models.CharField(max_length=100, primary_key=True)
    seen_at = models.DateTimeField()

    objects = NodeQuerySet.as_manager()

    class Meta:
        verbose_name = "node"
        default_permissions = ("view",)

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
    #: What it hears, a destination in each line, so that it is found by one.
    topics = models.TextField(blank=True)

    class Meta:
        verbose_name = "session"
        ordering = ("-connected_at",)
        default_permissions = ("view",)
        permissions = (
            ("disconnect_session", "Can disconnect sessions"),
            ("unsubscribe_session", "Can end subscriptions of sessions"),
            ("message_session", "Can send messages to sessions"),
        )

    def __str__(self) -> str:
        return f"{self.id[:8]} of {self.user or 'nobody'}, {self.address}"

    @property
    def topic_list(self) -> list[str]:
        """What it hears, as the node wrote it down."""
        return self.topics.splitlines()


class Topic(models.Model):
    """
    What permissions and the admin's log of topics belong to: which are heard, the nodes know, and
    there is no table.
    """

    id = models.CharField(max_length=255, primary_key=True)

    class Meta:
        managed = False
        verbose_name = "topic"
        default_permissions = ("view",)

    def __str__(self) -> str:
        return self.id


class OutboxMessage(models.Model):
    """A message that is not published yet: see :mod:`realtime.django.outbox`."""

    id = models.BigAutoField(primary_key=True)
    #: Its place among those that are published; None until it is its turn.
    number = models.BigIntegerField(null=True, db_index=True)
    destination = models.TextField()
    headers = models.JSONField(default=dict)
    body = models.BinaryField()
    created_at = models.DateTimeField(auto_now_add=True)
    #: Why it can't be published any more, if it can't.
    problem = models.CharField(max_length=200, blank=True)

    class Meta:
        verbose_name = "message of the outbox"
        verbose_name_plural = "messages of the outbox"
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.pk} to {self.destination}"


class OutboxNumber(models.Model):
    """The newest number of the outbox: one row, which whoever gives numbers locks."""

    last = models.BigIntegerField(default=0)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.last)
