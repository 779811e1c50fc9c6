"""docs/testing.md names what there is; tests/packaging runs what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from realtime.testing import fixtures
from realtime.testing.cases import LiveGatewayMixin, StompTestMixin


@pytest.fixture
def page(project: Path) -> str:
    return (project / "docs" / "testing.md").read_text()


def test_its_table_has_all_that_a_test_asks_for(page: str) -> None:
    named = re.findall(r"^\| `(?:await )?(\w+)", page, re.MULTILINE)
    offered = {name for name in vars(fixtures) if not name.startswith("_")}
    assert len(named) == 7
    assert set(named) <= offered
    of_the_mixins = {*dir(LiveGatewayMixin), *StompTestMixin.__annotations__}
    assert set(named) <= of_the_mixins | LiveGatewayMixin.__annotations__.keys()


def test_what_a_project_may_have_of_its_own_is_named(page: str) -> None:
    for name in ("stomp_path", "gateway_settings"):
        assert f"`{name}`" in page
        assert hasattr(fixtures, name)
