"""Read and keep the schema of an upgrade's servers, to find DDL since the preparation."""

from __future__ import annotations

import attrs
from psycopg.sql import SQL, Identifier, Literal

from pgreplkit._async.primary import AsyncPrimary
from pgreplkit._async.wire.link import AsyncLink
from pgreplkit.catalog.cluster.upgradereplication import COPIES
from pgreplkit.catalog.cluster.upgradeschema import FINGERPRINT, KEEP, KEPT
from pgreplkit.catalog.view import table_in
from pgreplkit.plans.cluster.upgrade import OLD, Names
from pgreplkit.plans.cluster.upgradeschema import COPY, KeptSchema
from pgreplkit.plans.cluster.upgradesteps import KeepSchema


async def read_fingerprint(link: AsyncLink) -> dict[str, str]:
    """Return a hash for each object of the schema."""
    # Definitions name schemas only where the search_path lacks them.
    async with link.qualified("read the schema") as within:
        records = await within.all("read the schema", FINGERPRINT)
    return {record["name"]: record["hash"] for record in records}


async def read_copies(server: AsyncPrimary, names: Names) -> dict[str, str]:
    """Return a mark for each table of the forward direction, which changes with its copy."""
    asked = [names.forward_in(one.name for one in await server.publications())]
    asked.append(names.forward_in(one.name for one in await server.subscriptions()))
    records = await server._link.all("read the replicated tables", COPIES, asked)
    return {f"{COPY}{table_in(record)}": record["mark"] for record in records}


async def read_kept_schema(old: AsyncPrimary, publication: str) -> KeptSchema | None:
    """Return the fingerprints that the preparation kept; None without the publication."""
    records = await old._link.all("read the kept schema", KEPT, [publication])
    return KeptSchema.from_text(records[0]["kept"]) if records else None


async def keep_schema(old: AsyncPrimary, server: AsyncPrimary, step: KeepSchema) -> None:
    """Keep the fingerprint of a server's schema, as the comment of a publication."""
    kept = await read_kept_schema(old, step.publication) or KeptSchema()
    # Both servers' fingerprints are in one text: each is compared with itself later.
    names = Names(upgrade=step.publication.rpartition("_")[0])
    found = await read_fingerprint(server._link) | await read_copies(server, names)
    kept = attrs.evolve(kept, old=found) if step.node == OLD else attrs.evolve(kept, new=found)
    statement = SQL(KEEP).format(Identifier(step.publication), Literal(kept.to_text()))
    await old._link.run("keep the schema", statement, grant="the owner")
