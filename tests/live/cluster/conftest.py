"""Databases for the tests of upgrades."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from clusters import Cluster
from databases import Pair, keeping_sessions, make_database, remove_databases
from upgrading import TABLES


@pytest.fixture
def sides(cluster: Cluster) -> Iterator[Pair]:
    """Two databases of one server: an old one with rows, and a new one without tables."""
    pair = Pair(make_database(cluster.primary), make_database(cluster.primary))
    with keeping_sessions(pair.publisher, pair.subscriber):
        pair.publisher.run(
            *TABLES,
            "INSERT INTO customers (name) VALUES ('a'), ('b')",
            "INSERT INTO orders (customer, total) SELECT 1, i FROM generate_series(1, 100) i",
        )
        yield pair
        remove_databases(pair.subscriber, pair.publisher)
