from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.valkeys import Cluster, closing


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster that the tests of a file leave as it was."""
    with closing(Cluster(tmp_path_factory.mktemp("cluster"))) as cluster:
        yield cluster


@pytest.fixture
def own_cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster of the test's own, to kill nodes of."""
    with closing(Cluster(tmp_path)) as cluster:
        yield cluster
