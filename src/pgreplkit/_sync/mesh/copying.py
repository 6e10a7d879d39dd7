# Generated from pgreplkit/_async/mesh/copying.py by `nox -s sync`. Do not edit.
"""The rows of a new node of a mesh, copied with the times and origins of their last commits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from functools import partial

import attrs
from psycopg import Connection
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Composable, Composed, Literal

from pgreplkit._sync.cluster.site import Site
from pgreplkit._sync.logical.applyshapes import read_targets
from pgreplkit._sync.logical.applytarget import ApplyTarget
from pgreplkit._sync.logical.publication import read_published
from pgreplkit._sync.logical.rowcopy import has_rows, open_qualified, relay
from pgreplkit._sync.logical.snapshot import table_copies
from pgreplkit._sync.mesh.members import read_members
from pgreplkit._sync.mesh.streams import start_at, stream_target
from pgreplkit._sync.streams.replication import ReplicationConnection
from pgreplkit._sync.wire.link import Link
from pgreplkit.catalog.logical import applying
from pgreplkit.catalog.logical.snapshot import ONLY
from pgreplkit.catalog.logical.tombstones import key_json
from pgreplkit.catalog.mesh import copying as sql
from pgreplkit.catalog.mesh.members import ADVANCE_ORIGIN, HORIZON, LOWER_HORIZON
from pgreplkit.catalog.view import table_in
from pgreplkit.driver import statements as parts
from pgreplkit.driver.failures import FEATURE_NOT_SUPPORTED, translate_errors
from pgreplkit.errors import ApplyError, ServerError
from pgreplkit.plans.logical.snapshot import TableCopy
from pgreplkit.plans.mesh.layout import applier_name, publication_name, slot_name, without
from pgreplkit.plans.mesh.steps import CopyRows
from pgreplkit.protocol.answers import Snapshot
from pgreplkit.values.lsn import LSN

_MARGIN = timedelta(seconds=1)
"""A server takes the time of a commit shortly before the commit is in its WAL."""
_COPYING, _STREAMING = "copying", "streaming"


class MeshCopy:
    """Copies the donor's rows to a node.

    Any change that the node gets later is younger than the horizon: rows that were last written
    before it are stamped with it, and lose against each such change. Rows that were written since
    keep the time and the origin of their last commit. So a change that the copy already contains
    changes nothing when it arrives again.
    """

    def __init__(self, site: Site, step: CopyRows) -> None:
        self._site, self._mesh = site, step.mesh
        self._node, self._donor = step.node, step.donor
        self._slot = slot_name(step.mesh, step.donor, step.node)
        self._operation = f"copy the rows of {step.donor} to {step.node}"

    def run(self, max_clock_skew: timedelta) -> None:
        """Create the slot, and copy; a copy that was interrupted begins again.

        Raises: ApplyError if a table has rows; ClockSkewTooLarge.
        """
        with (
            self._site.server(self._donor) as donor,
            self._target(self._donor) as target,
        ):
            state = self._state(target)
            # Done by an earlier attempt, whose rows other nodes may have changed since.
            if state == _STREAMING:
                return
            copies = self._copies(donor._link)
            # An attempt that was interrupted has copied these rows.
            if state == _COPYING:
                self._empty(target, copies)
            else:
                self._insist_on_empty(target, copies)
            # Before the slot: its changes are committed later than this time.
            clock = donor._link.one(self._operation, applying.CLOCK)
            row = [clock["now"], self._mesh, self._node]
            target.link.all(self._operation, LOWER_HORIZON, row)
            database = donor.connection.info.dbname
            with ReplicationConnection.connect(
                self._site.servers[self._donor], database=database
            ) as walsender:
                # The slot of an interrupted copy: its snapshot has ended with the session.
                if donor._link.all(self._operation, applying.SLOT_EXISTS, [self._slot]):
                    walsender.drop_slot(self._slot, wait=True)
                created = walsender.create_slot(
                    self._slot, plugin="pgoutput", snapshot=Snapshot.EXPORT
                )
                if state != _COPYING:
                    start_at(target, donor, created.consistent_point, is_ready=False)
                target.set_state(_COPYING)
                self._copy(target, copies, created.snapshot_name or "")
            # Otherwise a write to a copied row would have an earlier time, and lose on all others.
            newest = (donor._link.one(self._operation, applying.CLOCK))["now"]
            target.wait_for_clock(newest, max_clock_skew)
            self._release_streams(target)

    def remove(self) -> None:
        """Remove the copied rows, if the copy had begun."""
        with (
            self._site.server(self._donor) as donor,
            self._target(self._donor) as target,
        ):
            if target.has_schema() and self._state(target) in {_COPYING, _STREAMING}:
                self._empty(target, self._copies(donor._link))

    def _target(self, source: str) -> ApplyTarget:
        return stream_target(self._site, self._mesh, source, self._node)

    def _state(self, target: ApplyTarget) -> str | None:
        records = target.link.all(self._operation, applying.READ_APPLIER, [target.name])
        return str(records[0]["state"]) if records else None

    def _copies(self, donor: Link) -> list[TableCopy]:
        published = read_published(donor, [publication_name(self._mesh)])
        # Each node computes generated columns itself, also those that are published.
        whole = [attrs.evolve(one, columns=None) for one in published]
        return table_copies(donor, self._operation, whole)

    def _insist_on_empty(self, target: ApplyTarget, copies: Sequence[TableCopy]) -> None:
        for copy in copies:
            if has_rows(target.link, self._operation, copy.table.table_name):
                raise ApplyError(
                    self._operation,
                    f"{self._node}'s table {copy.table} has rows",
                    remedy="remove them, and let no one write there until the copy is done",
                )

    def _empty(self, target: ApplyTarget, copies: Sequence[TableCopy]) -> None:
        tables = [parts.table(copy.table.table_name) for copy in copies]
        truncate = SQL(applying.TRUNCATE).format(SQL(", ").join(tables))
        try:
            target.link.run(self._operation, truncate, grant="TRUNCATE on the tables")
        except ServerError as error:
            if error.sqlstate != FEATURE_NOT_SUPPORTED:
                raise
            # Tables outside of the mesh refer to them, even if these are empty.
            deletes = [SQL(applying.DELETE_ROWS).format(table) for table in tables]
            target.link.run(self._operation, *deletes, grant="DELETE on the tables")
        # Neither fires triggers here, and so both leave the tombstones that the copy brought.
        names = [str(copy.table.table_name) for copy in copies]
        target.link.all(self._operation, sql.REMOVE_TOMBSTONES, [names])

    def _release_streams(self, target: ApplyTarget) -> None:
        """Mark the streams from all other nodes as ready to be started."""
        members = read_members(target.link, self._mesh)
        # The donor's last: by it a repeated step knows that nothing is left to do.
        for source in (*without(members.present, self._node, self._donor), self._donor):
            row = [_STREAMING, applier_name(self._mesh, source, self._node)]
            target.link.all(self._operation, applying.SET_STATE, row)

    # Rows

    def _copy(self, target: ApplyTarget, copies: Sequence[TableCopy], snapshot: str) -> None:
        conninfo = make_conninfo(self._site.servers[self._donor], client_encoding="UTF8")
        reader = open_qualified(conninfo, snapshot)
        try:
            self._copy_all(reader, target, copies)
        finally:
            reader.close()

    def _copy_all(
        self,
        reader: Connection[object],
        target: ApplyTarget,
        copies: Sequence[TableCopy],
    ) -> None:
        record = target.link.one(self._operation, HORIZON, [self._mesh, self._node])
        horizon = record["horizon"] - _MARGIN
        self._begin_where_rows_end(reader, target)
        # The copy counts as changes of the donor, which this node does not send on to others.
        target.take_origin()
        for copy in copies:
            with _translated(copy.table, reader):
                self._copy_old(reader, target, copy, horizon)
        members = read_members(target.link, self._mesh)
        # Without the origins of commits, all of them count as the donor's.
        peers = without(members.present, self._node, self._donor) if members.ties == "rank" else ()
        for source in (self._donor, *peers):
            condition = self._condition(members.ties, source, peers)
            if source == self._donor:
                self._copy_young(reader, target, copies, horizon, condition)
                continue
            with self._target(source) as other:
                other.take_origin()
                self._copy_young(reader, other, copies, horizon, condition)
        with _translated("the stamps of rows", reader):
            self._copy_stamps(reader, target)

    def _begin_where_rows_end(self, reader: Connection[object], target: ApplyTarget) -> None:
        """Let the other nodes' streams begin with the first change that is not in the rows.

        Another one would be applied twice, which only delta columns notice: for them the donor has
        the positions in a table, so that the snapshot has those of its rows.
        """
        members = read_members(target.link, self._mesh)
        peers = without(members.present, self._node, self._donor)
        names = {applier_name(self._mesh, peer, self._donor): peer for peer in peers}
        records = Link(reader).all(self._operation, sql.POSITIONS, [[*names]])
        for record in records:
            own = slot_name(self._mesh, names[record["name"]], self._node)
            call = applying.ORIGIN_PROGRESS.format(target.origin.functions)
            reached = target.link.one(self._operation, call, [own])
            # The stream's slot may be later than the last change of a node that is idle.
            if LSN(str(reached["position"])) < record["position"]:
                advance = ADVANCE_ORIGIN.format(target.origin.functions)
                target.link.all(self._operation, advance, [own, str(record["position"])])

    def _copy_stamps(self, reader: Connection[object], target: ApplyTarget) -> None:
        """Copy the stamps of rows that a change with an earlier time has written."""
        stamped = Link(reader).all(self._operation, sql.STAMPED_TABLES)
        for name, shape in (read_targets(target.link, [*map(table_in, stamped)])).items():
            table, key = parts.table(name), SQL(key_json(shape.primary_key, "t"))
            only = SQL("" if shape.is_partitioned else ONLY)
            place = Literal(str(name))
            rows = SQL(sql.STAMPS).format(only, table, place, key)
            take = SQL(sql.TAKE_STAMPS).format(place, only, table, key)
            with target.link.in_transaction():
                target.run(SQL(sql.STAGE_STAMPS))
                _pass_on(reader, rows, target, SQL(sql.COPY_STAGED).format())
                target.run(take)
                target.run(SQL(sql.DROP_STAGED))

    def _condition(self, ties: str, source: str, peers: Sequence[str]) -> Composable:
        """Return the condition for the rows that a node wrote last."""
        if ties != "rank":
            return SQL(sql.ANY_ORIGIN)
        if source != self._donor:
            origin = slot_name(self._mesh, source, self._donor)
            return SQL(sql.IS_OF_ORIGIN).format(Literal(origin))
        origins = [slot_name(self._mesh, peer, self._donor) for peer in peers]
        return SQL(sql.IS_OF_NO_ORIGIN).format(Literal(origins))

    def _copy_old(
        self,
        reader: Connection[object],
        target: ApplyTarget,
        copy: TableCopy,
        horizon: datetime,
    ) -> None:
        table, columns = parts.table(copy.table.table_name), _columns(copy)
        rows = SQL(sql.OLD_ROWS).format(columns, _only(copy), table, Literal(horizon))
        into = SQL(applying.COPY_IN).format(table, columns, SQL(""))
        # Rows and their time are one commit, so that no row is ever seen without its version.
        with target.link.in_transaction():
            _pass_on(reader, rows, target, into)
            _stamp(target, horizon)

    def _copy_young(
        self,
        reader: Connection[object],
        target: ApplyTarget,
        copies: Sequence[TableCopy],
        horizon: datetime,
        condition: Composable,
    ) -> None:
        """Copy the rows and tombstones of one node, one transaction for each of its commits."""
        at = Literal(horizon)
        for copy in copies:
            table, columns = parts.table(copy.table.table_name), _columns(copy)
            rows = SQL(sql.YOUNG_ROWS).format(columns, _only(copy), table, at, condition)
            stage = SQL(sql.STAGE_ROWS).format()
            take = partial(SQL(sql.TAKE_ROWS).format, table, columns)
            with _translated(copy.table, reader):
                target.run(SQL(sql.CREATE_ROW_TYPE).format(columns, table))
                _copy_stamped(reader, rows, target, stage, take)
                target.run(SQL(sql.DROP_ROW_TYPE))
        rows = SQL(sql.YOUNG_TOMBSTONES).format(at, condition)
        with _translated("the tombstones", reader):
            _copy_stamped(
                reader,
                rows,
                target,
                SQL(sql.STAGE_TOMBSTONES).format(),
                SQL(sql.TAKE_TOMBSTONES).format,
            )


def _translated(what: object, reader: Connection[object]) -> AbstractContextManager[None]:
    """Translate the errors of both servers, which may be about values of rows."""
    return translate_errors(f"copy {what}", connection=reader, grant="SELECT", hides_values=True)


def _columns(copy: TableCopy) -> Composed:
    return parts.names(column.name for column in copy.table.columns)


def _only(copy: TableCopy) -> SQL:
    return SQL("") if copy.is_partitioned else SQL(ONLY)


def _copy_stamped(
    reader: Connection[object],
    rows: Composed,
    target: ApplyTarget,
    stage: Composed,
    take: Callable[[Literal], Composed],
) -> None:
    """Copy rows, and commit each one at the time that its first column has.

    ``stage`` creates a temporary table of the rows; ``take`` returns the statement that inserts
    those of one time from it.
    """
    target.run(stage)
    try:
        # Staged, since one transaction has one commit time, and the rows have many.
        _pass_on(reader, rows, target, SQL(sql.COPY_STAGED).format())
        # Each time is looked up by itself; without the index, the table would be read once for
        # each.
        target.run(SQL(sql.INDEX_STAGED))
        for record in target.link.all(target.operation, sql.STAGED_TIMES):
            with target.link.in_transaction():
                # Not as a parameter: names of columns may have percent signs.
                target.run(take(Literal(record["at"])))
                _stamp(target, record["at"])
    finally:
        target.run(SQL(sql.DROP_STAGED))


def _stamp(target: ApplyTarget, at: datetime) -> None:
    """Let the open transaction count as committed at that time by the node of the origin."""
    call = sql.XACT_STAMP.format(target.origin.functions)
    target.link.all(target.operation, call, [at])


def _pass_on(
    reader: Connection[object], rows: Composed, target: ApplyTarget, into: Composed
) -> None:
    with target.watched_at_times() as writing:
        writing.begin()
        with target.connection.cursor().copy(into) as sink:
            relay(reader, SQL(applying.COPY_ROWS).format(rows, SQL("")), sink, writing)
