"""The mixins, in test cases of Django's."""

from __future__ import annotations

import unittest
from typing import Any

from django.contrib.auth.models import User
from django.test import SimpleTestCase, TestCase, TransactionTestCase, override_settings

from realtime import apublish, broker, publish
from realtime.sessions.node import nodes
from realtime.testing.cases import LiveGatewayMixin, StompTestMixin
from tests.testing.conftest import ROUTING


@override_settings(**ROUTING)
class LocalTest(StompTestMixin, TestCase):
    async def test_clients_hear_each_other(self) -> None:
        alice = await self.stomp_client(user=User(username="alice", pk=1))
        bob = await self.stomp_client()
        await alice.subscribe("/topic/cases")
        await bob.publish("/topic/cases", {"from": "bob"})
        await self.assert_delivered(alice, "/topic/cases", {"from": "bob"})
        await self.assert_not_delivered(bob)
        self.assert_published("/topic/cases")

    async def test_the_clock_stands_still(self) -> None:
        client = await self.stomp_client(**{"heart-beat": "1000,0"})
        await self.stomp_clock.advance(4)
        assert await client.error() == ("heart-beat-missed", 4002)

    def test_what_synchronous_tests_publish_is_recorded(self) -> None:
        self.assert_not_published()
        publish("/topic/cases", "sync")
        self.assert_published("/topic/cases", "sync")

    def test_rows_are_rolled_back_as_ever(self) -> None:
        User.objects.create_user("alice")

    def test_rows_are_rolled_back_as_ever_again(self) -> None:
        User.objects.create_user("alice")


@override_settings(**ROUTING)
class WithoutDatabaseTest(StompTestMixin, SimpleTestCase):
    async def test_no_database_is_needed(self) -> None:
        client = await self.stomp_client()
        await client.subscribe("/topic/cases")


class LiveTest(LiveGatewayMixin, TransactionTestCase):
    gateway_settings = ROUTING

    async def test_what_the_test_publishes_reaches_it(self) -> None:
        async with self.gateway.client() as client:
            await client.subscribe("/topic/cases")
            await apublish("/topic/cases", "live")
            await self.assert_delivered(client, "/topic/cases", "live")


def test_a_case_that_fails_leaves_nothing_behind() -> None:
    class Case(StompTestMixin, SimpleTestCase):
        async def test(self) -> None:
            client = await self.stomp_client()
            await client.subscribe("/topic/cases")
            seen.extend(member for node in nodes for member in node.members)
            self.assert_published("/topic/cases")

    seen: list[Any] = []
    result = unittest.TestResult()
    with override_settings(**ROUTING):
        Case("test")(result)
    [(_, why)] = result.failures
    assert "/topic/cases was not published" in why
    assert len(seen) == 1
    assert [member for node in nodes for member in node.members] == []
    assert broker.trace is None
