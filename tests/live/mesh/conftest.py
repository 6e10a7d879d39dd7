"""Databases that are to form a mesh."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from clusters import Clusters
from databases import Database, make_database, remove_databases


@pytest.fixture
def three(clusters: Clusters, major: int) -> Iterator[dict[str, Database]]:
    """Three databases of one server with an empty table t, by the names of the nodes."""
    node = clusters.tracking(major)
    databases = {name: make_database(node) for name in ("a", "b", "c")}
    for database in databases.values():
        database.run(
            "CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL)",
            "ALTER TABLE t REPLICA IDENTITY FULL",
        )
    yield databases
    remove_databases(*databases.values())
