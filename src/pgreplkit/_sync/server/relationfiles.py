# Generated from pgreplkit/_async/server/relationfiles.py by `nox -s sync`. Do not edit.
"""Names of the relations to which files in the WAL belong."""

from __future__ import annotations

from collections.abc import Iterable

from pgreplkit._sync.wire.link import Link
from pgreplkit.catalog.server.relationfiles import RELATION_NAMES
from pgreplkit.offline.records import RelationFile
from pgreplkit.offline.stats import WalStats
from pgreplkit.values.tablename import TableName


def relation_names(
    link: Link, relations: WalStats | Iterable[RelationFile]
) -> dict[RelationFile, TableName]:
    """Return the names of relations in the connected database, and of shared ones."""
    if isinstance(relations, WalStats):
        relations = [row.key for row in relations.rows if isinstance(row.key, RelationFile)]
    files = [*relations]
    columns = [
        [file.tablespace for file in files],
        [file.database for file in files],
        [file.number for file in files],
    ]
    records = link.all("read the names of relations", RELATION_NAMES, columns)
    return {
        files[record["number"] - 1]: TableName(record["schema"], record["name"])
        for record in records
    }
