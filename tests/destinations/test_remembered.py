"""What is remembered of destinations is bounded: anybody may name as many as they like."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from realtime.destinations.groups import group_name
from realtime.destinations.names import check_destination, check_published, heard_destination
from realtime.destinations.remembered import REMEMBERED
from realtime.layer.scripts import history_keys
from realtime.routes.table import routing_table, rules_of, topic_options


@pytest.mark.parametrize(
    "function",
    [check_destination, check_published, group_name, history_keys, rules_of, topic_options],
)
def test_a_function_remembers_so_many_at_most(function: Callable[[str], Any]) -> None:
    cached: Any = function
    for number in range(REMEMBERED + 1):
        cached(f"/topic/remembered/{number}")
    assert cached.cache_info().currsize == cached.cache_info().maxsize == REMEMBERED


def test_what_a_user_hears_is_remembered_as_much() -> None:
    assert heard_destination.cache_info().maxsize == REMEMBERED


def test_topics_with_the_same_options_share_them() -> None:
    table = routing_table()
    assert table.topic("/topic/remembered/a") is table.topic("/topic/remembered/b")
