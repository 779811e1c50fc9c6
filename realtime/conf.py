"""
Settings: every one that ``realtime`` reads, with its default.

A Django project sets what it wants otherwise. Read one as ``conf.STOMP_MAX_FRAME_BYTES``: it is
looked up once, and again when a test has changed it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, ParamSpec, TypeVar, cast

from django.conf import settings
from django.core.signals import setting_changed

P = ParamSpec("P")
T = TypeVar("T")


class Conf:
    """The settings, as attributes."""

    #: The module with the routing table, a list called ``routes``; "" for none.
    STOMP_ROUTING: str = ""
    #: Whether clients may CONNECT without a login.
    STOMP_ANONYMOUS: bool = False
    #: The dotted paths of functions that find out who connects; see :mod:`realtime.access`.
    STOMP_AUTHENTICATORS: Sequence[str] = (
        "realtime.access.passcodes.passcode_user",
        "realtime.access.authentication.cookie_user",
    )
    #: Which JSON Web Tokens are good; None for none. See :mod:`realtime.access.jwt`.
    STOMP_JWT: Mapping[str, Any] | None = None
    #: Origins of pages, besides the gateway's own, that may connect; "*" for any.
    ALLOWED_ORIGINS: Sequence[str] = ()
    #: Seconds that a client has until CONNECT.
    STOMP_CONNECT_SECONDS: float = 10
    #: Seconds that a login may take, with the time that it waits for others.
    STOMP_LOGIN_SECONDS: float = 30
    #: Seconds for which a session remembers the answer of a rule that asked the database.
    STOMP_RULE_SECONDS: float = 60
    #: Seconds between two looks whether the logins of all sessions still hold.
    STOMP_RECHECK_SECONDS: float = 60
    #: The shortest heart-beat either way, in milliseconds; 0 for none.
    STOMP_HEARTBEAT_MS: int = 1000
    #: The largest frame of a client, in bytes.
    STOMP_MAX_FRAME_BYTES: int = 64 * 1024
    #: The largest body of a message, wherever it comes from; None for that of a frame.
    STOMP_MAX_BODY_BYTES: int | None = None
    #: Subscriptions of one session; topics of one stream of events.
    STOMP_MAX_SUBSCRIPTIONS: int = 128
    #: Topics with a history that an account may make anew in a minute, on one process; 0 for any.
    STOMP_NEW_TOPICS_PER_MINUTE: int = 600
    #: The same over the API, where services have more of them.
    STOMP_API_NEW_TOPICS_PER_MINUTE: int = 6000
    #: Threads for functions of the routing table that are not async.
    STOMP_HANDLER_THREADS: int = 32
    #: Messages that are kept of a topic, unless the routing table says otherwise.
    STOMP_HISTORY_MESSAGES: int = 100
    #: Seconds for which they are kept.
    STOMP_HISTORY_SECONDS: int = 300
    #: What may wait for one slow client, in bytes, before it is closed.
    STOMP_SEND_BUFFER_BYTES: int = 512 * 1024
    #: Seconds for which a client may take nothing of what waits for it.
    STOMP_SEND_SECONDS: float = 10
    #: How many small WebSocket frames a client may send in a second, and at once; 0 for any number.
    STOMP_FRAMES_PER_SECOND: int = 1000
    STOMP_FRAMES_BURST: int = 5000
    #: How many STOMP frames, and bytes, are read of a client in a second, and at once; 0 for any.
    STOMP_COMMANDS_PER_SECOND: int = 20_000
    STOMP_COMMANDS_BURST: int = 100_000
    STOMP_BYTES_PER_SECOND: int = 16 * 1024 * 1024
    STOMP_BYTES_BURST: int = 64 * 1024 * 1024
    #: How many SUBSCRIBEs and UNSUBSCRIBEs are; at once at least ``STOMP_MAX_SUBSCRIPTIONS``.
    STOMP_SUBSCRIBES_PER_SECOND: int = 200
    STOMP_SUBSCRIBES_BURST: int = 1000
    #: How often an address may log in, in a minute and at once, in each process; 0 for any number.
    STOMP_CONNECTS_PER_MINUTE: int = 6000
    #: Sessions and streams of events of one user, in each process; 0 for any number.
    STOMP_CONNECTIONS_PER_USER: int = 1000
    #: WebSockets in a process that have not sent CONNECT; one more, and the oldest is closed.
    STOMP_SILENT_CONNECTIONS: int = 1000
    #: Requests to the API of one user, or of an address without one, on all processes; 0 for any.
    STOMP_API_REQUESTS_PER_MINUTE: int = 120_000
    #: WebSockets and streams of events from one address, in each process; 0 for any number.
    STOMP_CONNECTIONS_PER_ADDRESS: int = 1000
    #: Networks of proxies whose ``X-Forwarded-For``, ``-Proto`` and ``-Host`` are believed.
    TRUSTED_PROXIES: Sequence[str] = ()
    #: Seconds in which the head of a request has to come, its body, and a WebSocket message.
    STOMP_HEAD_SECONDS: float = 10
    STOMP_BODY_SECONDS: float = 60
    STOMP_MESSAGE_SECONDS: float = 30
    #: What the bodies of all requests under way may have together, in bytes; 0 for any number.
    STOMP_MAX_REQUESTS_BYTES: int = 64 * 1024 * 1024
    #: Seconds for which a process that is told to end serves on, while ``/readyz`` says that it is
    #: draining: so a load balancer can turn away before anything is refused.
    STOMP_DRAIN_DELAY_SECONDS: float = 0
    #: Seconds that a process which is told to end takes at most to say goodbye to its clients.
    STOMP_DRAIN_SECONDS: float = 30
    #: Whether spans are made and sent, as :mod:`realtime.tracing` says.
    STOMP_TRACING: bool = False
    #: About how many dead letters are kept for each bridge.
    STOMP_DEAD_LETTERS: int = 1000
    #: The aliases of databases whose outbox ``manage.py bridge`` relays.
    STOMP_OUTBOX: Sequence[str] = ()
    #: The dotted path of a function of a user and a content, for who is not online: see ``notify``.
    STOMP_NOTIFY_FALLBACK: str = ""
    #: Where the bridges find the gateway's own Redis.
    REDIS_URL: str = "redis://127.0.0.1:6379/0"

    def __init__(self) -> None:
        for name in NAMES:
            self.read(name)
        setting_changed.connect(lambda setting, **_: self.read(setting), weak=False)

    def read(self, name: str) -> None:
        """Look up a setting, if it is one of these."""
        if name in NAMES:
            setattr(self, name, getattr(settings, name, getattr(Conf, name)))
        largest = self.STOMP_MAX_BODY_BYTES
        #: The largest body of a message, in bytes.
        self.max_body_bytes = self.STOMP_MAX_FRAME_BYTES if largest is None else largest


#: The names of all of them.
NAMES: Final = tuple(name for name in vars(Conf) if name.isupper())

conf: Final = Conf()


def cached_setting(derive: Callable[P, T]) -> Callable[P, T]:
    """Let a function that derives something from settings do so once, until a test changes one."""
    cached = lru_cache(maxsize=8192)(derive)  # by destination, most: as REMEMBERED of these
    setting_changed.connect(lambda **_: cached.cache_clear(), weak=False)
    return cast(Callable[P, T], cached)
