# Generated from pgreplkit/_async/cluster/upgradeschema.py by `nox -s sync`. Do not edit.
"""Read and keep the schema of an upgrade's servers, to find DDL since the preparation."""

from __future__ import annotations

import attrs
from psycopg.sql import SQL, Identifier, Literal

from pgreplkit._sync.primary import Primary
from pgreplkit._sync.wire.link import Link
from pgreplkit.catalog.cluster.upgradereplication import COPIES
from pgreplkit.catalog.cluster.upgradeschema import FINGERPRINT, KEEP, KEPT
from pgreplkit.catalog.view import table_in
from pgreplkit.plans.cluster.upgrade import OLD, Names
from pgreplkit.plans.cluster.upgradeschema import COPY, KeptSchema
from pgreplkit.plans.cluster.upgradesteps import KeepSchema


def read_fingerprint(link: Link) -> dict[str, str]:
    """Return a hash for each object of the schema."""
    # Definitions name schemas only where the search_path lacks them.
    with link.qualified("read the schema") as within:
        records = within.all("read the schema", FINGERPRINT)
    return {record["name"]: record["hash"] for record in records}


def read_copies(server: Primary, names: Names) -> dict[str, str]:
    """Return a mark for each table of the forward direction, which changes with its copy."""
    asked = [names.forward_in(one.name for one in server.publications())]
    asked.append(names.forward_in(one.name for one in server.subscriptions()))
    records = server._link.all("read the replicated tables", COPIES, asked)
    return {f"{COPY}{table_in(record)}": record["mark"] for record in records}


def read_kept_schema(old: Primary, publication: str) -> KeptSchema | None:
    """Return the fingerprints that the preparation kept; None without the publication."""
    records = old._link.all("read the kept schema", KEPT, [publication])
    return KeptSchema.from_text(records[0]["kept"]) if records else None


def keep_schema(old: Primary, server: Primary, step: KeepSchema) -> None:
    """Keep the fingerprint of a server's schema, as the comment of a publication."""
    kept = read_kept_schema(old, step.publication) or KeptSchema()
    # Both servers' fingerprints are in one text: each is compared with itself later.
    names = Names(upgrade=step.publication.rpartition("_")[0])
    found = read_fingerprint(server._link) | read_copies(server, names)
    kept = attrs.evolve(kept, old=found) if step.node == OLD else attrs.evolve(kept, new=found)
    statement = SQL(KEEP).format(Identifier(step.publication), Literal(kept.to_text()))
    old._link.run("keep the schema", statement, grant="the owner")
