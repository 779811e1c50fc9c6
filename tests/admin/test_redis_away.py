"""The admin while Redis is away: it stays up, says so, and shows what the database has."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from realtime.models import NodeRecord, SessionRecord

from .conftest import Browser, log, messages

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("away")]

ID = "01234567-89ab"


@pytest.fixture
def away(redis_away: None, settings: Any) -> None:
    """Let that Redis be the one of the bridges, too."""
    (settings.REDIS_URL,) = settings.CHANNEL_LAYERS["default"]["CONFIG"]["hosts"]


@pytest.fixture
async def session() -> None:
    await NodeRecord.objects.acreate(id="host-1-a", seen_at=timezone.now())
    await SessionRecord.objects.acreate(
        id=ID, node_id="host-1-a", connected_at=timezone.now(), topics="/topic/admin/a"
    )


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("realtime/sessionrecord/", ID[:8]),
        ("realtime/sessionrecord/?slow=1", "0 found"),
        (f"realtime/sessionrecord/{ID}/change/", "/topic/admin/a"),
        ("realtime/topic/", "Nothing is heard"),
        ("realtime/topic/_2Ftopic_2Ftoast/change/", "Redis is away."),
        ("realtime/noderecord/", "No node reports"),
        ("notifications/bridge/", "None is known"),
    ],
)
async def test_pages_say_so_and_stay_up(
    alice: Browser, session: None, address: str, shown: str
) -> None:
    page = await alice.get(f"/admin/{address}")
    assert any(each.startswith("Redis is away, so the ") for each in messages(page))
    assert shown in page


async def test_the_overview_says_what_is_wrong(alice: Browser) -> None:
    page = await alice.get("/admin/")
    assert "Redis is away: nobody can publish, and nodes can" in page
    assert '<dd data-path="sums.subscriptions" data-kind="number">–</dd>' in page


async def test_what_may_have_been_done_is_in_the_log(alice: Browser, session: None) -> None:
    page = await alice.post(
        "/admin/realtime/sessionrecord/disconnect/", ids=ID, reason="x", then="reconnect"
    )
    assert "1 session may be as before" in page
    assert [each[2:] for each in await log()] == [
        (ID, "Disconnected, it may reconnect: x (Redis is away)")
    ]
