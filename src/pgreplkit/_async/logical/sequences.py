"""AsyncSequencePlan: copy the positions of sequences, which are not replicated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from psycopg.rows import DictRow
from psycopg.sql import SQL, Literal

from pgreplkit._async.server.identity import insist_on_two_databases
from pgreplkit._async.server.server import AsyncServer, insist_on_servers
from pgreplkit._async.wire.link import AsyncLink
from pgreplkit._hooks import html_of
from pgreplkit._text import counted
from pgreplkit.catalog.logical.sequences import (
    DEFINITIONS,
    POSITION_OF,
    SETVAL,
    SequenceState,
    sequence_in,
)
from pgreplkit.driver import statements as parts
from pgreplkit.driver.failures import READ_ONLY_TRANSACTION, schema_grant, schema_list
from pgreplkit.errors import NotAPrimary, TableNotFound
from pgreplkit.plans.logical.sequences import SequenceChange, sequence_changes
from pgreplkit.values.finding import Finding, Severity
from pgreplkit.values.madeby import made_by
from pgreplkit.values.plain import JSONValue, plain
from pgreplkit.values.rows import Rows
from pgreplkit.values.seconds import Timeout
from pgreplkit.values.several import several
from pgreplkit.values.tablename import AnyTable, TableName, table_of

_AT_ONCE = 200
"""Sequences in one statement: each is a relation of its own, and planning grows with them."""


@made_by("{name}.read(publisher, subscriber)")
class AsyncSequencePlan:
    """The changes that bring a subscriber's sequences to the publisher's positions.

    ``changes`` lists what ``run`` would do. For the way back, read the plan with publisher and
    subscriber exchanged. A sequence is never set to an earlier value.
    """

    def __init__(
        self,
        publisher: AsyncServer,
        subscriber: AsyncServer,
        changes: tuple[SequenceChange, ...],
        *,
        margin: int,
        names: Sequence[TableName] | None,
    ) -> None:
        self._publisher, self._subscriber = publisher, subscriber
        self._margin, self._names = margin, names
        self.changes: tuple[SequenceChange, ...] = changes

    @classmethod
    async def read(
        cls,
        publisher: AsyncServer,
        subscriber: AsyncServer,
        *,
        margin: int = 0,
        sequences: Iterable[AnyTable] | None = None,
    ) -> AsyncSequencePlan:
        """Compare the sequences of two databases: all permanent ones, or those named.

        ``margin`` is the number of values to skip on the subscriber, for values that the publisher
        returns in the meantime. It can be 0 once the publisher is no longer written to.

        Raises: TableNotFound for a sequence that the publisher lacks; InsufficientPrivilege;
        ServerError if both are one database.
        Needs: SELECT on the sequences.  Source: pg_sequence and the sequences.
        """
        insist_on_servers(publisher=publisher, subscriber=subscriber)
        if type(margin) is not int or margin < 0:
            raise ValueError(f"margin must be an int >= 0, got {margin!r}")
        names = None
        if sequences is not None:
            names = [table_of(name) for name in several(sequences, "sequences", at_least=1)]
        links = publisher._link, subscriber._link
        await insist_on_two_databases("compare the sequences", *links)
        plan = cls(publisher, subscriber, (), margin=margin, names=names)
        await plan.refresh()
        return plan

    async def refresh(self) -> AsyncSequencePlan:
        """Read both sides again, and return the plan."""
        sources = await read_sequences(self._publisher._link, self._names)
        # The publisher first: a sequence of the subscriber that moves in between is only further
        # ahead.
        targets = await read_sequences(self._subscriber._link, [*sources])
        missing = {*(self._names or ())} - sources.keys()
        if missing:
            which = ", ".join(map(str, sorted(missing)))
            raise TableNotFound("read the sequences", f"the publisher has no sequence {which}")
        self.changes = sequence_changes(sources, targets, margin=self._margin)
        return self

    @property
    def problems(self) -> tuple[Finding, ...]:
        """The findings over all sequences that need action before ``run``."""
        findings = [finding for change in self.changes for finding in change.findings]
        return tuple(f for f in findings if f.severity >= Severity.WARNING)

    async def run(self, *, timeout: Timeout = 60.0) -> Rows[SequenceChange]:
        """Read both sides again, set the sequences that are behind, and return the changes.

        A rollback does not undo setval(): after an error, some of them may be set already, and
        another call sets the rest. Sequences that the subscriber lacks are left out; ``problems``
        lists them.

        Raises: NotAPrimary; InsufficientPrivilege; StatementTimeout.
        Needs: UPDATE on the subscriber's sequences.  Source: setval().
        """
        # The positions that were shown may be old.
        await self.refresh()
        due = Rows(change for change in self.changes if change.sql)
        names = [str(change.name) for change in due]
        # One statement: a round trip for each would keep the applications from writing for longer.
        if due:
            await self._subscriber._link.all(
                "set the sequences",
                SETVAL,
                [names, [one.last_value for one in due], [one.is_called for one in due]],
                grant=f"{schema_grant(change.name for change in due)}; UPDATE ON SEQUENCE"
                f" {', '.join(names)}",
                meaning={READ_ONLY_TRANSACTION: NotAPrimary},
                timeout=timeout,
            )
        return due

    def to_dict(self) -> dict[str, JSONValue]:
        """Return the changes as JSON types."""
        return {"changes": plain(self.changes)}

    def __str__(self) -> str:
        return str(Rows(self.changes))

    def _repr_html_(self) -> str:
        return html_of(Rows(self.changes))

    def __repr__(self) -> str:
        due = sum(1 for change in self.changes if change.sql)
        return (
            f"<{type(self).__name__}, {due} of {counted(len(self.changes), 'sequence')} to set,"
            f" {counted(len(self.problems), 'problem')}>"
        )


async def read_sequences(
    link: AsyncLink, names: Sequence[TableName] | None
) -> Mapping[TableName, SequenceState]:
    """Return the sequences of the database, by name."""
    operation = "read the sequences"
    wanted = None if names is None else {*names}
    records = [
        (record, record.pop("last_value"))
        for record in await link.all(operation, DEFINITIONS)
        if wanted is None or TableName(record["schema"], record["name"]) in wanted
    ]
    # Others have a position too, that of setval() or RESTART.
    unused = [record for record, last_value in records if last_value is None]
    states = {
        state.name: state
        for state in (sequence_in(r, value, True) for r, value in records if value is not None)
    }
    for begin in range(0, len(unused), _AT_ONCE):
        batch = unused[begin : begin + _AT_ONCE]
        sql = " UNION ALL ".join(_position(link, place, r) for place, r in enumerate(batch))
        for at in await link.all(operation, sql, grant=_read_grant(batch)):
            state = sequence_in(batch[at["place"]], at["last_value"], at["is_called"])
            states[state.name] = state
    return states


def _read_grant(records: Sequence[DictRow]) -> str:
    schemas = schema_list(TableName(record["schema"], record["name"]) for record in records)
    return f"USAGE ON SCHEMA {schemas}; SELECT ON ALL SEQUENCES IN SCHEMA {schemas}"


def _position(link: AsyncLink, place: int, record: DictRow) -> str:
    name = parts.table(TableName(record["schema"], record["name"]))
    return SQL(POSITION_OF).format(Literal(place), name).as_string(link.connection)
