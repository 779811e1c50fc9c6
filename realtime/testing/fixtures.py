"""
Fixtures: a plugin of pytest, for a project's ``conftest.py``::

    pytest_plugins = ["realtime.testing.fixtures"]

It needs pytest-django and pytest-asyncio. A project may have ``stomp_path`` and
``gateway_settings`` of its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

if TYPE_CHECKING:
    from .clock import Clock
    from .live import Gateway
    from .local import LocalClient
    from .published import Published


@pytest.fixture(scope="session")
def stomp_path() -> str:
    """Where the project's ``ASGI_APPLICATION`` has the consumer."""
    return "/stomp"


@pytest_asyncio.fixture
async def stomp_client(
    settings: Any, stomp_path: str
) -> AsyncIterator[Callable[..., Awaitable[LocalClient]]]:
    """
    Connects clients in this process: ``await stomp_client(user=alice)``; they end with the test.
    See :meth:`.LocalGateway.connect`.
    """
    from .local import LocalGateway
    from .logins import forced

    for name, value in forced().items():
        setattr(settings, name, value)
    async with LocalGateway(stomp_path) as gateway:
        yield gateway.connect


@pytest.fixture
def stomp_clock() -> Clock:
    """The :class:`.Clock` of these clients: it stands still, unless the test moves it on."""
    from .clock import Clock

    return Clock()


@pytest.fixture
def published() -> Iterator[Published]:
    """All that this process publishes, from when the fixture is set up: a :class:`.Published`."""
    from .published import Published

    with Published() as published:
        yield published


@pytest.fixture
def assert_published(published: Published) -> Callable[..., Any]:
    """See :meth:`.Published.assert_published`."""
    return published.assert_published


@pytest.fixture
def assert_not_published(published: Published) -> Callable[..., None]:
    """See :meth:`.Published.assert_not_published`."""
    return published.assert_not_published


@pytest.fixture
def assert_delivered() -> Callable[..., Awaitable[Any]]:
    """See :func:`realtime.testing.client.assert_delivered`."""
    from .client import assert_delivered

    return assert_delivered


@pytest.fixture
def assert_not_delivered() -> Callable[..., Awaitable[None]]:
    """See :func:`realtime.testing.client.assert_not_delivered`."""
    from .client import assert_not_delivered

    return assert_not_delivered


@pytest.fixture(scope="session")
def gateway_settings() -> Mapping[str, Any]:
    """Settings of the live gateway that are others than the project's; what JSON can say."""
    return {}


@pytest.fixture(scope="session")
def gateway_process(
    django_db_setup: None,
    gateway_settings: Mapping[str, Any],
    stomp_path: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Gateway]:
    """The live gateway of all tests; ask for ``gateway``."""
    from .live import Gateway
    from .valkey import some_redis

    log = tmp_path_factory.mktemp("gateway") / "log"
    with (
        some_redis() as redis_url,
        Gateway(log, redis_url, path=stomp_path, **gateway_settings) as gateway,
    ):
        yield gateway


@pytest.fixture
def gateway(gateway_process: Gateway, transactional_db: None, settings: Any) -> Gateway:
    """A live :class:`.Gateway`, on the databases of the tests; what they publish reaches it."""
    for name, value in gateway_process.shared.items():
        setattr(settings, name, value)
    return gateway_process
