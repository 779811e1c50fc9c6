from __future__ import annotations

from django.db import models


class Notification(models.Model):
    """What permissions of services belong to; there is no table."""

    class Meta:
        managed = False
        default_permissions = ()
        permissions = (
            ("publish", "Can publish over the API, and as a service"),
            ("view_metrics", "Can read /metrics"),
        )

    def __str__(self) -> str:
        return str(self.pk)


class DeadLetter(models.Model):
    """
    What permissions and the admin's log of dead letters belong to: the letters themselves are in
    Redis (:mod:`notifications.dead_letters.letters`), and there is no table.
    """

    id = models.CharField(max_length=300, primary_key=True)

    class Meta:
        managed = False
        verbose_name = "dead letter"
        default_permissions = ("view", "change", "delete")

    def __str__(self) -> str:
        return self.id


class Bridge(models.Model):
    """What the permission to look at bridges belongs to: the routing table has them, no table."""

    id = models.CharField(max_length=300, primary_key=True)

    class Meta:
        managed = False
        verbose_name = "bridge"
        default_permissions = ("view",)

    def __str__(self) -> str:
        return self.id
