"""Topics of one stream may be heard by tokens that were signed for them, and by rules."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest

from realtime import sign
from realtime.routes import allow, anyone
from realtime.routes.table import Table
from realtime.sessions.authorization import Grants
from realtime.sessions.session import Session
from realtime.sse.view import Refused, _check


async def granted(topics: list[str], tokens: list[str]) -> Grants:
    grants = Grants(Session())
    query = urlencode([("token", token) for token in tokens])
    scope: dict[str, Any] = {"query_string": query.encode()}
    await _check(grants, [(topic, topic, None) for topic in topics], scope)
    return grants


async def test_each_topic_needs_a_token_or_a_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table([allow("/topic/open", subscribe=anyone)])
    monkeypatch.setattr("realtime.access.rules.rules_of", table.rules)
    token = sign("/topic/orders/**")
    grants = await granted(["/topic/open", "/topic/orders/7"], [sign("/topic/other"), token])
    assert list(grants.signed) == ["/topic/orders/7"]  # and with it only this one ends
    for tokens, code in (([], "subscribe-denied"), ([sign("/topic/other")], "bad-token")):
        with pytest.raises(Refused) as refused:
            await granted(["/topic/open", "/topic/orders/7"], tokens)
        assert (refused.value.status, refused.value.content["code"]) == (403, code)
