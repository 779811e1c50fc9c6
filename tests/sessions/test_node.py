"""The node: what one server process holds for its sessions ends with it."""

from __future__ import annotations

import asyncio

import pytest

from tests.kit.local_client import TIMEOUT, LocalClient, local_node


@pytest.mark.parametrize("turns", range(40))
async def test_a_node_can_be_closed_while_it_connects_to_redis(turns: int) -> None:
    async with asyncio.timeout(TIMEOUT):
        async with local_node():
            client = LocalClient()
            await client.socket.connect()
            for _ in range(turns):
                await asyncio.sleep(0.0002)
        await client.socket.disconnect()
