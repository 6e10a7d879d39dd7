"""The facts that an applier's readiness is decided by, and the statements that prepare a role."""

from __future__ import annotations

from collections.abc import Sequence

from pgreplkit._async.logical.applyconstants import refused_constants
from pgreplkit._async.logical.applyfit import find_misfits
from pgreplkit._async.logical.applyleaves import find_unfound_rows
from pgreplkit._async.logical.applyloops import direction_of, read_loops, read_opposing
from pgreplkit._async.logical.applyshapes import AsyncTargetShapes, read_partitions
from pgreplkit._async.logical.publication import (
    read_identities,
    read_operations,
    unsent_identities,
)
from pgreplkit._async.server.identity import read_database
from pgreplkit._async.server.settings import read_settings
from pgreplkit._async.wire.link import AsyncLink
from pgreplkit.apply.deltas import insist_on_differences
from pgreplkit.apply.rules import TableRule
from pgreplkit.apply.settings import ApplySettings
from pgreplkit.apply.shape import match
from pgreplkit.catalog.features import has
from pgreplkit.catalog.logical import applying as sql
from pgreplkit.catalog.logical.replicaidentity import PARTIAL_IDENTITIES
from pgreplkit.catalog.view import table_in
from pgreplkit.driver.valuetext import text_of
from pgreplkit.errors import RoleNotFound, SchemaMismatch
from pgreplkit.plans.logical.applying import SetupStatements, state_of
from pgreplkit.plans.logical.applyreadiness import ApplyFacts, apply_readiness
from pgreplkit.plans.logical.applyrights import ApplyRights
from pgreplkit.plans.logical.snapshot import TableCopy
from pgreplkit.plans.server.identity import feeds_itself
from pgreplkit.plans.server.readiness import Readiness
from pgreplkit.values.tablename import TableName, schemas_and_names


async def check_apply(
    publisher: AsyncLink,
    shapes: AsyncTargetShapes,
    copies: Sequence[TableCopy],
    settings: ApplySettings,
) -> Readiness:
    """Return the findings about both servers."""
    link, operation = shapes.link, "check an applier"
    rights = await read_rights(link, operation)
    there = await publisher.one(operation, sql.PUBLISHER, [settings.slot])
    # An origin that exists already needs no further place.
    origins = await link.one(operation, sql.ORIGINS_USED, [settings.slot])
    source, here = await read_database(publisher), await read_database(link)
    tables = {copy.table.table_name: settings.target_of(copy.table.table_name) for copy in copies}
    await shapes.read([*tables.values()])
    mismatches, ambiguous = await _matched(copies, shapes, settings)
    opposing = await read_opposing(publisher, here)
    loops, unread = await read_loops(publisher, link, opposing, direction_of(copies, settings))
    return apply_readiness(
        ApplyFacts(
            major=link.version.major,
            uses_origin=settings.uses_origin,
            rights=rights,
            settings=await read_settings(link),
            origins=origins["used"],
            has_origin=origins["has_own"],
            publisher=await read_settings(publisher),
            may_replicate=there["may_replicate"],
            publisher_role=there["role"],
            slots=there["slots"],
            has_slot=there["has_slot"],
            state=await _state(publisher, link, settings, rights),
            remedies=settings.slot_remedies,
            copies_slots=publisher.has("slot.copy"),
            is_same_database=feeds_itself(source, here),
            tables=tables,
            identities=await read_identities(publisher, [*tables]),
            not_full=await _not_full(publisher, [*tables]),
            unsent=await unsent_identities(
                publisher,
                {one.table.table_name: [own.name for own in one.table.columns] for one in copies},
            ),
            operations=await read_operations(publisher, settings.publications),
            unreadable=await _unreadable(publisher, [*tables]) if settings.copy else (),
            sends_truncate=publisher.has("publication.truncate"),
            targets=shapes.tables,
            mismatches=mismatches,
            ambiguous=ambiguous,
            unfound=await find_unfound_rows(publisher, shapes, copies, settings),
            misfits=await _misfits(publisher, link, copies, settings),
            setup=f"run what setup_sql({rights.role!r}) prints",
            truncates=settings.truncate,
            loops=loops,
            unread=unread,
            filtered=[table for table in tables if settings.reads_rows(table)],
            replaced=[table for table in tables if settings.replaces_rows(table)],
            stamps=settings.last_update_wins is not None,
            reads_commits=settings.reads_commits,
        )
    )


async def _misfits(
    publisher: AsyncLink, link: AsyncLink, copies: Sequence[TableCopy], settings: ApplySettings
) -> dict[TableName, list[str]]:
    """Return the columns that do not take every value of the publisher's."""
    misfits = await find_misfits(publisher, link, settings, copies)
    return {table: [one.found for one in found] for table, found in misfits.items()}


async def read_rights(link: AsyncLink, operation: str) -> ApplyRights:
    """Read what the current role may do on a subscriber."""
    record = await link.one(operation, sql.rights())
    # Before 15 no privilege exists for it: a function of a superuser sets it.
    if has("settings.grantable", link.version.major):
        record |= await link.one(operation, sql.MAY_SET_ROLE)
    return ApplyRights(**record)


async def _state(
    publisher: AsyncLink, link: AsyncLink, settings: ApplySettings, rights: ApplyRights
) -> str:
    """Return the state of the applier; empty if it was never run."""
    operation = "check an applier"
    # Without the rights, which are findings of their own, it cannot be read.
    if not (rights.has_schema and rights.may_create and rights.may_write):
        return ""
    if not (await link.one(operation, sql.HAS_TABLES))["has_tables"]:
        return ""
    stored = await link.all(operation, sql.READ_APPLIER, [settings.name])
    slots = await publisher.all(operation, sql.SLOT_BEHIND, [settings.slot])
    return state_of(stored[0]["state"], slots[0] if slots else None) if stored else ""


async def _unreadable(publisher: AsyncLink, tables: Sequence[TableName]) -> list[TableName]:
    """Return the tables that the role of the publisher cannot read."""
    asked = [*schemas_and_names(tables)]
    records = await publisher.all("check an applier", sql.UNREADABLE, asked)
    return [table_in(record) for record in records]


async def _not_full(
    publisher: AsyncLink, tables: Sequence[TableName]
) -> dict[TableName, list[str]]:
    """Return those of the tables, and of their partitions, without REPLICA IDENTITY FULL."""
    asked = [*schemas_and_names(tables)]
    records = await publisher.all("check an applier", PARTIAL_IDENTITIES, asked)
    return {table_in(one): one["not_full"] for one in records if one["not_full"]}


async def _matched(
    copies: Sequence[TableCopy], shapes: AsyncTargetShapes, settings: ApplySettings
) -> tuple[dict[TableName, str], dict[TableName, tuple[str, ...]]]:
    """Return why tables do not fit, and the columns of others that do not identify a row."""
    refused = await refused_constants(shapes.link, copies, shapes.tables, settings)
    found = {table: "; ".join(problems) for table, problems in refused.items()}
    ambiguous = {}
    dump = text_of(shapes.link.connection)
    for copy in copies:
        table = copy.table.table_name
        rule = settings.rules.get(table, TableRule())
        # The same decision as that of a run, whose error is a finding here.
        try:
            name = settings.target_of(table)
            other = shapes.others.get(name, "")
            matched = match(copy.table, shapes.tables.get(name), rule, dump, other)
            insist_on_differences(matched, settings.deltas.get(matched.target.table, ()))
        except SchemaMismatch as error:
            found[table] = error.found
        else:
            if not matched.is_unique:
                ambiguous[table] = tuple(one.column.name for one in matched.key)
    return found, ambiguous


async def insist_on_role(link: AsyncLink, role: str, place: str) -> None:
    """Raise RoleNotFound if the server lacks the role to prepare."""
    operation = f"prepare the role {role!r}"
    if not await link.all(operation, sql.ROLE, [role]):
        raise RoleNotFound(operation, f"the role does not exist on {place}")


async def to_hand_over(link: AsyncLink) -> list[str]:
    """Return the objects of superusers that a role must own, as SQL."""
    records = await link.all("read the owners in the schema pgreplkit", sql.TO_HAND_OVER)
    return [record["object"] for record in records]


async def setup_statements(
    link: AsyncLink, role: str, tables: Sequence[TableName], settings: ApplySettings
) -> SetupStatements:
    """Return the statements that prepare a role."""
    database = link.connection.info.dbname
    # Sorted, so that the printed script is always the same.
    targets = sorted({settings.target_of(table) for table in tables})
    return SetupStatements(
        publisher=tuple(sql.publisher_setup_sql(role, tables)),
        subscriber=tuple(
            sql.setup_sql(
                role,
                link.version.major,
                database,
                targets,
                handed_over=await to_hand_over(link),
                triggers=settings.last_update_wins is not None,
                partitions=await read_partitions(link, targets),
            )
        ),
    )
