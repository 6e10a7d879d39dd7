"""Find the constants of rules that the subscriber's columns do not take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from psycopg.sql import SQL, Identifier

from pgreplkit._async.wire.link import AsyncLink
from pgreplkit.apply.settings import ApplySettings
from pgreplkit.apply.shape import mismatch_of_rule
from pgreplkit.catalog.logical.applying import TRY_COLUMN, TRY_CONSTANT
from pgreplkit.catalog.logical.applytables import TargetTable
from pgreplkit.driver import statements as parts
from pgreplkit.driver.valuetext import text_of
from pgreplkit.errors import ServerError
from pgreplkit.errors.apply import is_of_a_change
from pgreplkit.errors.server import INSUFFICIENT_PRIVILEGE
from pgreplkit.plans.logical.snapshot import TableCopy
from pgreplkit.values.tablename import TableName


async def insist_on_constants(
    link: AsyncLink,
    copies: Sequence[TableCopy],
    targets: Mapping[TableName, TargetTable | None],
    settings: ApplySettings,
) -> None:
    """Refuse constants that the subscriber does not take.

    Raises: SchemaMismatch.
    """
    found = await refused_constants(link, copies, targets, settings)
    for table, problems in found.items():
        raise mismatch_of_rule(table, problems)


async def refused_constants(
    link: AsyncLink,
    copies: Sequence[TableCopy],
    targets: Mapping[TableName, TargetTable | None],
    settings: ApplySettings,
) -> dict[TableName, list[str]]:
    """Return the problems with constants, by published table."""
    found: dict[TableName, list[str]] = {}
    for copy in copies:
        table = copy.table.table_name
        target, rule = targets.get(settings.target_of(table)), settings.rules.get(table)
        if target is None or rule is None:
            continue
        for name, value in rule.constants.items():
            problem = await _problem(link, target, name, value)
            if problem:
                found.setdefault(table, []).append(problem)
    return found


async def _problem(link: AsyncLink, target: TargetTable, name: str, value: object) -> str:
    """Return why a column does not take a constant; empty if it does, or if that is unknown."""
    try:
        text = text_of(link.connection)(value)
    except ValueError:
        # The table's match reports it.
        return ""
    if target.column(name) is None:
        return ""
    statement = SQL(TRY_COLUMN).format(parts.table(target.table), Identifier(name))
    # A name may contain what psycopg takes for a placeholder.
    asked = statement.as_string(link.connection).replace("%", "%%") + TRY_CONSTANT
    # A constant is no value of a row, so that its text may be shown.
    link = AsyncLink(link.connection)
    try:
        await link.all("check a constant", asked, [None if text is None else text.decode()])
    except ServerError as error:
        # Without the privilege to insert, nothing is known; another check finds that.
        if is_of_a_change(error.sqlstate):
            return f"the constant {name!r} does not fit its column: {error.found}"
        if error.sqlstate != INSUFFICIENT_PRIVILEGE:
            raise
    return ""
