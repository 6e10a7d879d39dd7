# Generated from pgreplkit/_async/logical/coverage.py by `nox -s sync`. Do not edit.
"""The tables that an operation on two databases covers, and whether its role sees them whole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pgreplkit._sync.logical.publication import read_published
from pgreplkit._sync.logical.subscribing import read_subscriptions
from pgreplkit._sync.server.identity import insist_on_two_databases
from pgreplkit._sync.wire.link import Link
from pgreplkit.catalog.logical.publication import (
    AnyPublished,
    PublishedTable,
    published,
)
from pgreplkit.catalog.logical.snapshot import FILTERED_TABLES
from pgreplkit.catalog.logical.stuck import (
    ALL_PUBLICATION_NAMES,
    OWN_SLOT_NAMES,
)
from pgreplkit.catalog.view import table_in
from pgreplkit.errors import (
    InsufficientPrivilege,
    TableNotFound,
)
from pgreplkit.plans.logical.coverage import publications_covered
from pgreplkit.values.several import several
from pgreplkit.values.tablename import TableName, schemas_and_names


def tables_between(
    publisher: Link,
    subscriber: Link,
    tables: Iterable[AnyPublished] | None,
    operation: str,
) -> list[PublishedTable]:
    """Return the tables that an operation covers: the given ones, or those that are replicated.

    Raises: ServerError if both are one database; PublicationNotFound; TableNotFound when no table
    is published; TypeError or ValueError for ``tables`` that is one str, or empty.
    """
    given = None
    if tables is not None:
        given = [published(table) for table in several(tables, "tables", at_least=1)]
    insist_on_two_databases(operation, publisher, subscriber)
    if given is not None:
        return given
    # What nothing replicates need not be equal.
    states = read_subscriptions(subscriber)
    records = publisher.all("read the publications", ALL_PUBLICATION_NAMES)
    slots = publisher.all("read the slots", OWN_SLOT_NAMES)
    own = {record["name"] for record in slots}
    names = publications_covered(
        operation,
        {state.subname: state.subpublications for state in states},
        [record["name"] for record in records],
        with_slot={state.subname for state in states if state.subslotname in own},
    )
    if covered := read_published(publisher, names):
        return covered
    found = f"no table is published by {', '.join(map(repr, names))}"
    raise TableNotFound(operation, f"{found}; add tables there, or name them with tables=")


def insist_on_all(
    operation: str, where: str, asked: Iterable[TableName], there: Iterable[TableName]
) -> None:
    """Raise TableNotFound for the tables that are asked for and do not exist."""
    if missing := {*asked} - {*there}:
        which = ", ".join(map(str, sorted(missing)))
        raise TableNotFound(operation, f"{where} has no table {which}")


def insist_on_all_rows(link: Link, operation: str, tables: Sequence[TableName]) -> None:
    """Raise InsufficientPrivilege when row security hides rows of a table from this role."""
    columns = [*schemas_and_names(tables)]
    # A row that the role cannot see would count as missing.
    if records := link.all(operation, FILTERED_TABLES, columns):
        which = ", ".join(str(table_in(record)) for record in records)
        found = f"row level security hides rows of {which} from this role"
        raise InsufficientPrivilege(operation, link.role, "BYPASSRLS", found)
