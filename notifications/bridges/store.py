"""Store: the keys of bridges in the gateway's own Redis, and the clients that look at it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from typing import Any, Final, Self

import redis
from django.conf import settings

from realtime.redis import create_client
from realtime.redis.cluster import ClusterClient

#: What is counted over all owners of a route, and its field in the status. Those are the first
#: release's words, so that processes of both can work side by side; so is "holder", the owner.
STORED_AS: Final = {"messages": "carried", "dead_lettered": "put_aside", "errors": "errors"}


def key_of(route_id: str, part: str) -> str:
    """Return where a part of what belongs to a route is; all parts are in one slot of a cluster."""
    return f"{{{prefix()}:bridge:{route_id}}}:{part}"


def prefix() -> str:
    """Return the name of this gateway, that keeps it apart from others on the same Redis."""
    layer: Any = settings.CHANNEL_LAYERS["default"]
    name: str = layer.get("CONFIG", {}).get("prefix", "gateway")
    return name


@cache
def client_to(url: str) -> redis.Redis | ClusterClient:
    """Return the synchronous client to the Redis at the URL, which all threads share."""
    return create_client(url)


@dataclass
class Life:
    """
    The life of a stream: one that is deleted and begun anew may have smaller ids.

    Args:
        number: How often it was begun anew.
        newest: The id of the newest entry that was consumed in it; "" for none.
        digest: What tells that entry from another of the same id.
    """

    number: int = 0
    newest: str = ""
    digest: str = ""

    @classmethod
    def of(cls, status: Mapping[str, str]) -> Self:
        """Return the one that the status of a route has."""
        newest, _, digest = status.get("newest", "").partition(" ")
        return cls(int(status.get("life", 0)), newest, digest)

    @property
    def status(self) -> dict[str, str]:
        """What the status of a route has of it."""
        return {"life": str(self.number), "newest": f"{self.newest} {self.digest}"}

    def consumed(self, id: bytes, fields: list[bytes]) -> None:
        """Take note of the newest entry."""
        self.newest, self.digest = id.decode(), digest_of(fields)

    def text(self, id: bytes) -> str:
        """
        Return the id of an entry so that texts compare as ids do, and those of a later life are
        greater: digits alone do so in every locale, which Redis compares by.
        """
        milliseconds, _, number = id.decode().partition("-")
        text = f"{milliseconds:0>20}-{number:0>20}"
        return f"9{self.number:09}-{text}" if self.number else text


def digest_of(fields: list[bytes]) -> str:
    """Return a short text that stands for the fields of an entry."""
    return sha256(repr(fields).encode()).hexdigest()[:16]
