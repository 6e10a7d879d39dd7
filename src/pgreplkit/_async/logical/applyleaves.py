"""Find the partitions of published tables whose changes the subscriber could not find rows for."""

from __future__ import annotations

from collections.abc import Sequence

from pgreplkit._async.logical.applyshapes import AsyncTargetShapes
from pgreplkit._async.logical.publication import read_leaves, read_operations
from pgreplkit._async.wire.link import AsyncLink
from pgreplkit.apply.rules import TableRule
from pgreplkit.apply.settings import ApplySettings
from pgreplkit.apply.shape import match
from pgreplkit.catalog.logical.publication import Operation
from pgreplkit.driver.valuetext import text_of
from pgreplkit.errors import ApplyError, SchemaMismatch
from pgreplkit.plans.logical.applyleaves import UnfoundRows, unfound_rows
from pgreplkit.plans.logical.snapshot import TableCopy
from pgreplkit.values.tablename import TableName


async def find_unfound_rows(
    publisher: AsyncLink,
    shapes: AsyncTargetShapes,
    copies: Sequence[TableCopy],
    settings: ApplySettings,
) -> dict[TableName, UnfoundRows]:
    """Return the partitions of which UPDATE or DELETE would be lost, by published table."""
    roots = [copy for copy in copies if copy.is_partitioned]
    if not roots:
        return {}
    sent = await read_operations(publisher, settings.publications)
    leaves = await read_leaves(publisher, [copy.table.table_name for copy in roots])
    dump, found = text_of(shapes.link.connection), dict[TableName, UnfoundRows]()
    for copy in roots:
        table = copy.table.table_name
        if sent.get(table, set()).isdisjoint({Operation.UPDATE, Operation.DELETE}):
            continue
        target = settings.target_of(table)
        rule, other = settings.rules.get(table, TableRule()), shapes.others.get(target, "")
        try:
            matched = match(copy.table, shapes.tables.get(target), rule, dump, other)
        except SchemaMismatch:
            # Reported by itself.
            continue
        unfound = unfound_rows(matched.sent_key, leaves.get(table, ()))
        if unfound is not None:
            found[table] = unfound
    return found


async def insist_on_found_rows(
    publisher: AsyncLink,
    shapes: AsyncTargetShapes,
    copies: Sequence[TableCopy],
    settings: ApplySettings,
) -> None:
    """Refuse partitions of which UPDATE or DELETE would be lost.

    Raises: ApplyError.
    """
    found = await find_unfound_rows(publisher, shapes, copies, settings)
    for table, unfound in found.items():
        raise ApplyError(f"apply changes of {table}", unfound.found, remedy=unfound.remedy)
