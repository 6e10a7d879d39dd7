"""The reports of a mesh: its streams, its conflicts, and the rows that differ."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

import attrs

from pgreplkit._text import counted
from pgreplkit.plans.logical.applying import ApplyConflict
from pgreplkit.plans.logical.compare import Key, key_text, row_text
from pgreplkit.values.openenum import OpenEnum
from pgreplkit.values.record import Record
from pgreplkit.values.tablename import TableName
from pgreplkit.values.text import items_text, wrapped


class StreamState(OpenEnum):
    """The state of the stream from one node of a mesh to another."""

    STREAMING = "streaming"
    STOPPED = "stopped"
    """Nothing reads it: the source keeps WAL for it."""
    COPYING = "copying"
    """The rows of the target are being copied."""
    LOST = "lost"
    """Its slot is lost: the target must leave, and join again."""
    MISSING = "missing"
    """Its slot or its origin does not exist."""
    UNREACHABLE = "unreachable"
    """One of the two nodes cannot be reached."""


@attrs.frozen(kw_only=True)
class MeshStream(Record):
    """The stream of changes from one node of a mesh to another.

    Source: pg_replication_slots of the source; the schema pgreplkit of the target.
    """

    _first = ("source", "target", "state", "behind_bytes")

    source: str
    target: str
    state: StreamState = attrs.field(converter=StreamState)
    behind_bytes: int | None = None
    """The bytes of WAL that the source has written since the target acknowledged."""
    lag: timedelta | None = None
    """The age of the last applied commit when it was applied; None if this object did not run the
    stream."""
    waits_for_clock: timedelta = timedelta(0)
    """The time until the target's clock has passed the commit time of the next change."""
    conflicts: int | None = None
    """The number of recorded conflicts."""
    parked: int | None = None
    """The number of transactions that were put aside."""


@attrs.frozen(kw_only=True)
class MeshSetup(Record):
    """Statements that an administrator runs on each node of a mesh; ``str()`` returns scripts."""

    nodes: Mapping[str, tuple[str, ...]]
    """The statements for each node."""

    def __str__(self) -> str:
        return "\n".join(
            line
            for node, statements in self.nodes.items()
            for line in (f"-- on {node}", *(f"{one};" for one in statements))
        )


@attrs.frozen(kw_only=True)
class MeshConflict(Record):
    """A conflict that a node of a mesh met, and its decision."""

    source: str
    target: str
    """The node that met it."""
    conflict: ApplyConflict


@attrs.frozen(kw_only=True)
class MeshDifference(Record):
    """A row that is not the same on all nodes after they have applied each other's changes."""

    table: TableName
    key: dict[str, str]
    """The values of the key's columns, as text."""
    rows: dict[str, dict[str, str | None] | None]
    """By node, the values as text; None if the node lacks the row."""

    def __str__(self) -> str:
        lines = wrapped(f"{self.table}: {key_text(self.key)}")
        for node, row in self.rows.items():
            shown = "no row" if row is None else row_text(row)
            lines += wrapped(f"{node}: {shown}", first="  ", then="    ")
        return "\n".join(lines)


@attrs.frozen(kw_only=True)
class MeshComparison(Record):
    """The result of comparing the rows of all nodes of a mesh."""

    nodes: tuple[str, ...]
    tables: tuple[TableName, ...]
    rows: int
    """The compared rows of the first node."""
    differences: tuple[MeshDifference, ...]
    undecided: tuple[str, ...] = ()
    """Rows that changed at each look, so that nothing is known of them."""

    @property
    def is_equal(self) -> bool:
        """Whether all rows were the same; False if some are undecided."""
        return not self.differences and not self.undecided

    def __str__(self) -> str:
        text = (
            f"{counted(self.rows, 'row')} of {counted(len(self.tables), 'table')} on"
            f" {', '.join(self.nodes)}: {counted(len(self.differences), 'differs', 'differ')}"
        )
        if self.undecided:
            text += f", {len(self.undecided)} changed at each look: {', '.join(self.undecided)}"
        return "\n".join([*wrapped(text), *items_text(self.differences, indent=2)])


Look = Mapping[Key, tuple[object, str]]
"""By key, the hash and the version of each row of one node."""


@attrs.define
class MeshVerdict:
    """The rows of a range that differ, after one or more looks at all nodes.

    Between two looks every node applies what any other one had written at the first one. A row
    counts as different if no node wrote it in between: then no change of it was on its way.
    """

    differing: list[Key] = attrs.field(factory=list)
    doubtful: list[Key] = attrs.field(factory=list)
    """Rows to look at again."""
    _before: Sequence[Look] = ()

    def add(self, looks: Sequence[Look]) -> None:
        """Take one look at all nodes into account."""
        # A doubtful row may have been deleted everywhere since, and is equal then.
        keys = sorted({key for look in looks for key in look} | {*self.doubtful})
        unequal = [key for key in keys if len({_hash(look, key) for look in looks}) > 1]
        # Equal looks of all nodes with a wait between: no change was on its way to any of them.
        settled = {
            key
            for key in unequal
            if self._before
            and [look.get(key) for look in looks] == [look.get(key) for look in self._before]
        }
        self.differing += sorted(settled)
        self.doubtful = [key for key in unequal if key not in settled]
        self._before = looks


def _hash(look: Look, key: Key) -> object:
    found = look.get(key)
    return None if found is None else found[0]
