"""Dead letters and the status of bridges, where the gateway's Redis is a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from notifications.bridges.status import read_status
from notifications.bridges.store import client_to, key_of
from notifications.dead_letters import letters as dead_letters
from notifications.dead_letters.letters import Outcome
from realtime.redis import execute_all
from tests.kit.bridge_routes import route
from tests.kit.valkeys import Cluster, closing


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with closing(Cluster(tmp_path_factory.mktemp("cluster"))) as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def on_the_cluster(cluster: Cluster, settings: Any) -> None:
    settings.REDIS_URL = cluster.url


def test_letters_of_routes_on_all_nodes_are_found_and_published_again(settings: Any) -> None:
    streams = [route("stream") for _ in range(12)]
    client = client_to(settings.REDIS_URL)
    execute_all(client, [dead_letters.command(each.id, "bad", {"n": "1"}) for each in streams])
    letters = dead_letters.newest([each.id for each in streams], 100)
    assert len(letters) == 12
    for stream in streams:
        [letter] = dead_letters.newest([stream.id], 5)
        outcomes = dead_letters.redrive(stream, [letter.key.entry_id])
        assert list(outcomes.values()) == [Outcome.REDRIVEN]
        [entries] = execute_all(client, [("XRANGE", stream.source, "-", "+")])
        assert [fields for _, fields in entries] == [[b"n", b"1"]]
    assert dead_letters.newest([each.id for each in streams], 100) == []


def test_streams_on_all_nodes_say_how_far_behind_they_are(settings: Any) -> None:
    streams = [route("stream") for _ in range(12)]
    create = [("XGROUP", "CREATE", each.source, each.group, "0", "MKSTREAM") for each in streams]
    add = [("XADD", each.source, "*", "n", "1") for each in streams]
    execute_all(client_to(settings.REDIS_URL), [*create, *add])
    assert [(status.lag, status.problem) for status in read_status(streams)] == [(1, None)] * 12


def test_a_letter_goes_back_to_its_channel_while_a_bridge_carries_it() -> None:
    channel = route("channel")
    client = client_to(channel.url)
    put_aside = dead_letters.command(channel.id, "bad", {"channel": channel.source, "payload": ""})
    [entry_id] = execute_all(client, [put_aside])
    assert dead_letters.redrive(channel, [entry_id.decode()]) == {
        entry_id.decode(): Outcome.UNHEARD
    }
    execute_all(client, [("SET", key_of(channel.id, "lease"), "host:1 0")])
    assert dead_letters.redrive(channel, [entry_id.decode()]) == {
        entry_id.decode(): Outcome.REDRIVEN
    }
