from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import AppConfig, apps
from django.db import connection

from realtime.layer.pages import read_page
from tests.kit.shop.models import Item, Order


@pytest.fixture(autouse=True)
def routing(settings: Any) -> None:
    settings.STOMP_ROUTING = "tests.routing"
    settings.STOMP_OUTBOX = ["default"]


@pytest.fixture(autouse=True)
def empty_redis(redis_client: Any) -> Iterator[None]:
    """Let no test read what another has published, here or elsewhere."""

    def empty() -> None:
        for key in redis_client.scan_iter("{gateway__group__*", count=1000):
            redis_client.delete(key)

    empty()
    yield
    empty()


@pytest.fixture
def shop_app() -> Iterator[None]:
    """The shop, among the installed apps; the others are not made ready anew."""
    app = AppConfig.create("tests.kit.shop")
    app.apps = apps
    apps.app_configs[app.label] = app
    app.import_models()
    apps.clear_cache()
    yield
    del apps.app_configs[app.label]
    apps.clear_cache()


@pytest.fixture
def shop(shop_app: None, transactional_db: None) -> Iterator[None]:
    """The tables of the shop."""
    with connection.schema_editor() as editor:
        for model in (Order, Item):
            editor.create_model(model)
    yield
    with connection.schema_editor() as editor:
        for model in (Item, Order):
            editor.delete_model(model)


def bodies(topic: str) -> list[str]:
    """Return what was published to a topic."""
    return [message.text for message in read_page(topic).messages]
