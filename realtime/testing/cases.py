"""
StompTestMixin: STOMP clients, and what is published, for Django's test cases; LiveGatewayMixin,
with a live gateway.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar

from django.test import SimpleTestCase
from django.test.utils import override_settings

from realtime.messages.message import Message

from .client import assert_delivered, assert_not_delivered
from .clock import Clock
from .live import Gateway
from .local import LocalClient, LocalGateway
from .logins import forced
from .published import Published
from .valkey import some_redis

if TYPE_CHECKING:
    Case = SimpleTestCase
else:
    Case = object


class StompTestMixin(Case):
    """
    The fixtures, for a test case of Django's::

        class RoomsTest(StompTestMixin, TransactionTestCase):
            async def test_what_is_said_is_heard(self):
                alice = await self.stomp_client()
                ...
                await self.assert_delivered(alice, "/topic/rooms/1", "hello")

    A test that has clients is a coroutine. In a :class:`django.test.TestCase` nothing sees rows
    but the test itself: use ``TransactionTestCase`` where a login, a rule or a function on a thread
    asks the database.
    """

    #: Where the project's ``ASGI_APPLICATION`` has the consumer.
    stomp_path = "/stomp"

    assert_published: Callable[..., list[Message]]
    assert_not_published: Callable[..., None]
    assert_delivered = staticmethod(assert_delivered)
    assert_not_delivered = staticmethod(assert_not_delivered)

    def __call__(self, result: Any = None) -> Any:
        """Run the test, with what it publishes recorded, and its clients closed on its loop."""
        name = self._testMethodName
        test = getattr(self, name)
        if inspect.iscoroutinefunction(test):
            setattr(self, name, self._with_clients(test))
        with Published() as published:
            self.assert_published = published.assert_published
            self.assert_not_published = published.assert_not_published
            return super().__call__(result)

    def _with_clients(self, test: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        @wraps(test)
        async def run() -> None:
            with override_settings(**forced()):
                async with LocalGateway(self.stomp_path) as self._local:
                    await test()

        return run

    async def stomp_client(
        self, user: Any = None, *, http: Mapping[str, str] | None = None, **headers: str
    ) -> LocalClient:
        """Return a client in this process: see :meth:`.LocalGateway.connect`."""
        return await self._local.connect(user, http=http, **headers)

    @property
    def stomp_clock(self) -> Clock:
        """The clock of these clients."""
        return Clock()


class LiveGatewayMixin(StompTestMixin):
    """
    The same, with a live gateway for all tests of the class; for ``TransactionTestCase``.

    Raises:
        ImproperlyConfigured: If it could not open the database of the tests.
    """

    #: Settings of the gateway that are others than the project's; what JSON can say.
    gateway_settings: ClassVar[Mapping[str, Any]] = {}

    gateway: ClassVar[Gateway]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        log = Path(cls.enterClassContext(TemporaryDirectory())) / "log"
        redis_url = cls.enterClassContext(some_redis())
        gateway = Gateway(log, redis_url, path=cls.stomp_path, **cls.gateway_settings)
        cls.gateway = cls.enterClassContext(gateway)
        cls.enterClassContext(override_settings(**gateway.shared))
