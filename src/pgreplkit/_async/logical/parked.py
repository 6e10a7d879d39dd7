"""Parked transactions: shown, or applied later, by the statements that were kept."""

from __future__ import annotations

from psycopg import Error as PsycopgError
from psycopg.rows import DictRow

from pgreplkit._async.logical.applytarget import AsyncApplyTarget
from pgreplkit._async.wire.link import AsyncLink
from pgreplkit._async.wire.rawvalues import find_problem, read_texts
from pgreplkit.apply.failures import is_of_a_set
from pgreplkit.apply.statements import TIMESTAMPTZ
from pgreplkit.catalog.logical import applying as sql
from pgreplkit.catalog.logical.compare import QUALIFIED_OUTPUT
from pgreplkit.driver.failures import translate_errors, without_values
from pgreplkit.errors import ApplyError, ApplyFailed
from pgreplkit.plans.logical.applying import ParkedStatement, ParkedTransaction


async def forget_parked(
    link: AsyncLink, operation: str, applier: str, parked: ParkedTransaction
) -> None:
    """Forget a parked transaction.

    Raises: ApplyError if it is parked no longer, or by another applier.
    """
    asked = [parked.id, applier, parked.lsn]
    if not await link.all(operation, sql.DROP_ONE_PARKED, asked):
        raise _gone(operation, applier)


def _gone(operation: str, applier: str) -> ApplyError:
    return ApplyError(
        operation,
        f"it is parked no longer, or by another applier than {applier!r}",
        remedy="use one of parked() of the same applier",
    )


async def show_parked(
    link: AsyncLink, operation: str, applier: str, parked: ParkedTransaction
) -> list[ParkedStatement]:
    """Return the statements of a parked transaction.

    Raises: ApplyError if it is parked no longer, or by another applier.
    """
    steps = await _steps(link, operation, applier, parked)
    if not steps:
        raise _gone(operation, applier)
    shown = []
    async with link.transaction(operation, timeout=60.0, hides_values=True) as within:
        await within.all(operation, QUALIFIED_OUTPUT)
        for step in steps:
            given, types = step["parameters"], step["types"]
            # Where no types are declared, only the commit time is binary.
            known = types or [TIMESTAMPTZ] * len(given)
            shown.append(
                ParkedStatement(
                    number=step["number"],
                    table=step["table"],
                    statement=step["statement"],
                    parameters=tuple(await read_texts(within, given, step["formats"], known)),
                    problem=await find_problem(within, step["statement"], types),
                )
            )
    return shown


async def _steps(
    link: AsyncLink, operation: str, applier: str, parked: ParkedTransaction
) -> list[DictRow]:
    asked = [parked.id, applier, parked.lsn]
    return await link.all(operation, sql.PARKED_STEPS, asked, grant=sql.STATE_GRANT)


async def apply_parked(target: AsyncApplyTarget, parked: ParkedTransaction) -> None:
    """Apply a parked transaction, and forget it.

    Raises: ApplyFailed; ApplyError if it is parked no longer, or by another applier.
    """
    operation = f"apply the parked transaction {parked.xid}"
    steps = await _steps(target.link, operation, target.name, parked)
    number, table = 0, None
    try:
        await target.execute("BEGIN")
        await forget_parked(target.link, operation, target.name, parked)
        for step in steps:
            number, table = step["number"], step["table"]
            await target.execute(
                step["statement"], step["parameters"], step["formats"], step["types"]
            )
        table = None
        if target.uses_origin and parked.commit_time is not None:
            await target.name_origin(parked.lsn, parked.commit_time)
        await target.execute("COMMIT")
    except PsycopgError as error:
        with translate_errors(operation, hides_values=True):
            await target.execute("ROLLBACK")
        found = str(without_values(error))
        # The statement of a table whose rows are merged divides by the number of rows it found.
        if is_of_a_set(error.sqlstate):
            found = f"the subscriber's row is not as the publisher's was before the change: {found}"
        at = None if table is None else number
        failure = ApplyFailed(parked.xid, str(parked.lsn), table, at, found, error.sqlstate)
        failure.remedy = "remove the cause and call apply_parked() again, or drop_parked()"
        raise failure from error
    except BaseException:
        with translate_errors(operation, hides_values=True):
            await target.execute("ROLLBACK")
        raise
