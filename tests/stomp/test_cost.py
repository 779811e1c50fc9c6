"""Doubling the worst input at most doubles the cost, up to 1 MiB."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.kit.cost import (
    KIB,
    MOST,
    WORST,
    Drive,
    drive_connection,
    drive_connection_with_limits,
    drive_decoder,
    growth,
    growth_of,
)

#: How often a cost is measured until it counts as not linear.
ATTEMPTS = 4


@pytest.mark.parametrize(
    ("length", "size"),
    [(1024 * KIB, 1024 * KIB), (1000, 1024 * KIB), (1, 128 * KIB)],
    ids=["whole", "by 1000", "by 1"],
)
@pytest.mark.parametrize("kind", WORST)
def test_the_cost_of_a_connection_is_linear(kind: str, length: int, size: int) -> None:
    assert is_linear(lambda: growth_of(kind, size, length, drive_connection))


@pytest.mark.parametrize("kind", WORST)
@pytest.mark.parametrize("drive", [drive_decoder, drive_connection_with_limits])
def test_the_cost_is_linear_without_a_connection_and_with_limits(kind: str, drive: Drive) -> None:
    assert is_linear(lambda: growth_of(kind, 1024 * KIB, 1000, drive))


@pytest.mark.parametrize(
    "kind", ["one long header", "headers without end", "nearly blank lines", "a body without NUL"]
)
def test_the_cost_of_1_mib_byte_by_byte_is_linear(kind: str) -> None:
    assert is_linear(lambda: growth_of(kind, 1024 * KIB, 1))


@pytest.mark.parametrize(("exponent", "linear"), [(1.0, True), (1.4, False), (2.0, False)])
def test_a_cost_that_is_not_linear_would_be_seen(exponent: float, linear: bool) -> None:
    def cost(size: int) -> float:
        started = time.process_time()
        for _ in range(round(10_000 * (size / KIB) ** exponent)):
            pass
        return time.process_time() - started

    if linear:
        assert is_linear(lambda: growth(cost, 32 * KIB))
    else:
        assert any(growth(cost, 32 * KIB) > MOST for _ in range(ATTEMPTS))


def is_linear(measure: Callable[[], float]) -> bool:
    """Other work on the machine makes a cost seem higher, never lower: so once is enough."""
    return any(measure() <= MOST for _ in range(ATTEMPTS))
