# Generated from pgreplkit/_async/logical/stuck.py by `nox -s sync`. Do not edit.
"""Ask both servers why a subscription makes no progress."""

from __future__ import annotations

from contextlib import suppress

from pgreplkit._sync.logical.publisher import publisher_of, read_publisher
from pgreplkit._sync.logical.rowcopy import has_rows
from pgreplkit._sync.server.server import Server
from pgreplkit._sync.wire.link import Link
from pgreplkit.catalog.logical.stuck import (
    LOCK_HOLDERS,
    MISSING_COLUMNS,
    MISSING_TABLES,
    UNTAKEN_TABLES,
    LockHolder,
    WorkerPool,
    forbidden_tables,
    worker_pool,
)
from pgreplkit.catalog.logical.subscription import TableState
from pgreplkit.catalog.view import table_in
from pgreplkit.errors import ConnectionFailed, InsufficientPrivilege, ServerError
from pgreplkit.plans.logical.stuck import (
    PublisherFacts,
    SubscriptionFacts,
    SubscriptionProblem,
    stuck_reasons,
)
from pgreplkit.plans.logical.subscription import SubscriptionStatus
from pgreplkit.values.tablename import TableName

_TABLES_PROBED = 20
"""Tables that are checked for rows: the first ones that wait show the problem, and each check may
take a second."""


def find_reasons(
    link: Link, status: SubscriptionStatus, publisher: Server | None
) -> tuple[SubscriptionProblem, ...]:
    """Return the reasons why a subscription makes no progress, as far as this role can find out."""
    unreachable, facts = "", None
    wanted: list[tuple[TableName, list[str]]] = []
    try:
        with publisher_of(link, status.state.oid, publisher) as server:
            facts, wanted = read_publisher(server, status.state)
    except ConnectionFailed as error:
        unreachable = str(error)
    except InsufficientPrivilege:
        pass  # Without the connection string, the subscriber's facts have to be enough.
    return stuck_reasons(_facts(link, status, unreachable, facts, wanted))


def _facts(
    link: Link,
    status: SubscriptionStatus,
    unreachable: str,
    publisher: PublisherFacts | None,
    wanted: list[tuple[TableName, list[str]]],
) -> SubscriptionFacts:
    operation = f"diagnose the subscription {status.state.subname!r}"
    oid, major = status.state.oid, link.version.major
    named = [[table.schema for table, _ in wanted], [table.name for table, _ in wanted]]
    each = [(table, column) for table, columns in wanted for column in columns]
    sent = [[t.schema for t, _ in each], [t.name for t, _ in each], [column for _, column in each]]
    missing = link.all(operation, MISSING_TABLES, named)
    lacking = link.all(operation, MISSING_COLUMNS, sent)
    untaken = link.all(operation, UNTAKEN_TABLES, [*named, oid])
    forbidden = link.all(operation, forbidden_tables(major), [oid])
    holders = link.all(operation, LOCK_HOLDERS, [oid])
    return SubscriptionFacts(
        state=status.state,
        workers=status.workers,
        tables=status.tables,
        stats=status.stats,
        pool=WorkerPool(**link.one(operation, worker_pool(major))),
        missing_tables=[table_in(record) for record in missing],
        missing_columns={table_in(record): record["columns"] for record in lacking},
        untaken_tables=[table_in(record) for record in untaken],
        forbidden_tables=[table_in(record) for record in forbidden],
        filled_tables=_filled(link, status, operation),
        lock_holders=[LockHolder(**record) for record in holders],
        unreachable=unreachable,
        publisher=publisher,
    )


def _filled(link: Link, status: SubscriptionStatus, operation: str) -> list[TableName]:
    waiting = [
        table.table
        for table in status.tables
        if table.state in {TableState.INIT, TableState.DATA_COPY} and not table.tuples_processed
    ]
    filled = []
    for table in waiting[:_TABLES_PROBED]:
        # The role may not read the table, or it is locked: then nothing is known about it.
        with suppress(ServerError):
            # A table that someone has locked would hold up the diagnosis.
            if has_rows(link, operation, table, timeout=1.0):
                filled.append(table)
    return filled
