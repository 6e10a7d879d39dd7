"""The start of a feed, decided by the positions of the sink and of the slot."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

import attrs

from pgreplkit._text import counted
from pgreplkit.catalog.logical.publication import PublishedTable
from pgreplkit.errors import (
    AheadOfServer,
    FeedError,
    PositionLost,
    ServerError,
    TableNotFound,
    WrongSource,
)
from pgreplkit.feeds.position import FeedPosition, FeedStage
from pgreplkit.values.lsn import LSN
from pgreplkit.values.tablename import TableName
from pgreplkit.values.timeline import TimelineHistory


class Beginning(Enum):
    """The first thing that a feed does."""

    CREATE = "create"
    """Create the slot, after a slot of that name that was never used is dropped."""
    ADOPT = "adopt"
    """Store the slot's position in the sink, and continue from there."""
    CONTINUE = "continue"
    """Continue after the sink's position."""
    NOTHING = "nothing"
    """Nothing: the existing rows are in the sink, and no changes are wanted."""


@attrs.frozen(kw_only=True)
class StartFacts:
    """The facts that decide how a feed starts.

    The slot is read before the sink: the sink had every acknowledged change before.
    """

    operation: str
    system_id: int
    timeline: int
    """The server's timeline; 0 on a standby, whose timeline can change while it is streamed."""
    history: TimelineHistory | None
    """The history of the server's timeline."""
    reached: LSN
    """The end of the server's WAL."""
    has_slot: bool
    confirmed: LSN | None
    """The position from which the slot sends changes; None without a slot."""
    invalidated: str = ""
    """Why the server has invalidated the slot, which sends nothing then; empty if it has not."""
    sink: FeedPosition | None
    numbering: int
    """The numbering of the feed's changes; see FeedPosition."""
    copies: bool
    """Whether the feed begins with the existing rows."""
    ends_after_copy: bool
    """Whether the feed sends the existing rows, and no changes."""
    accepts_gap: bool
    """Whether the feed may continue without changes that are lost."""


def invalidation(wal_status: str | None, reason: str | None) -> str:
    """Return why the server has invalidated a slot; empty if it has not.

    ``reason`` is known from 17 on.
    """
    if reason:
        return reason
    return "its WAL is removed" if wal_status == "lost" else ""


def resumed(position: FeedPosition | None) -> FeedPosition | None:
    """Return the position from which a feed continues.

    The rows of tables that were added later come after everything before their snapshot.
    """
    if position is None or position.stage is not FeedStage.ADDING:
        return position
    return attrs.evolve(position, stage=FeedStage.STREAMING, is_whole=True)


def added_tables(
    operation: str, published: Sequence[PublishedTable], wanted: Sequence[TableName]
) -> list[PublishedTable]:
    """Return the published tables that are wanted.

    Raises: TableNotFound for one that is not published.
    """
    known = {one.table: one for one in published}
    for table in wanted:
        if table not in known:
            names = ", ".join(map(str, known)) or "none"
            found = f"its publications do not have the table {table}; they have: {names}"
            remedy = "ALTER PUBLICATION … ADD TABLE first"
            raise TableNotFound(operation, found, remedy=remedy)
    return [known[table] for table in dict.fromkeys(wanted)]


def slot_refusal(
    operation: str,
    slot: str,
    plugin: str | None,
    database: str | None,
    here: str,
    *,
    is_two_phase: bool = False,
) -> FeedError | None:
    """Return the error for a slot that can be of no feed of this database: it stays as it is."""
    if plugin == "pgoutput" and database == here and not is_two_phase:
        return None
    found = f"the slot {slot!r} is physical"
    if is_two_phase:
        # Their changes would come before it is known whether they are committed.
        found = f"the slot {slot!r} sends transactions that are only prepared (two_phase)"
    elif plugin is not None:
        found = f"the slot {slot!r} is of the plugin {plugin} in the database {database}"
    return FeedError(operation, found, remedy="use another slot name")


def decide_start(facts: StartFacts) -> Beginning:
    """Return the beginning of the feed.

    Raises: WrongSource; AheadOfServer; PositionLost.
    """
    position = facts.sink
    if facts.ends_after_copy:
        return _only_copied(facts)
    if position is None:
        if not facts.has_slot:
            return Beginning.CREATE
        # A slot that is used has changes that the sink once had.
        return _created_again(facts) if facts.invalidated else _adopted(facts)
    # Before any other decision: it would be made with positions of another server.
    if (refusal := _foreign(facts, position)) is not None:
        raise refusal
    if position.stage is FeedStage.COPYING:
        # The snapshot of the copied rows has ended with the session that exported it.
        return Beginning.CREATE
    if position.stage is FeedStage.CREATING:
        # The slot was created in between, and nothing was read from it.
        is_new = facts.has_slot and not facts.invalidated
        return Beginning.ADOPT if is_new and not facts.copies else Beginning.CREATE
    if not facts.has_slot or facts.confirmed is None or facts.invalidated:
        return _created_again(facts)
    # The slot is beyond the sink, or at a transaction of which the sink has only a part.
    if facts.confirmed > position.lsn or (
        facts.confirmed == position.lsn and not position.is_whole
    ):
        return _adopted(facts)
    if not position.is_whole and position.numbering != facts.numbering:
        found = (
            f"the sink has the first {counted(position.number, 'change')} of the transaction that"
            f" ends at {position.lsn}, numbered with other publications or another messages="
        )
        remedy = "run it once with the former ones, until the transaction is complete"
        raise FeedError(facts.operation, found, remedy=remedy)
    return Beginning.CONTINUE


def _only_copied(facts: StartFacts) -> Beginning:
    position = facts.sink
    if facts.has_slot:
        # Its slot is temporary: this one is that of a feed of changes.
        found, remedy = "a slot of that name exists", "use another slot name to copy rows only"
        raise FeedError(facts.operation, found, remedy=remedy)
    if position is None:
        return Beginning.CREATE
    if (refusal := _foreign(facts, position)) is not None:
        raise refusal
    return Beginning.NOTHING if position.stage is FeedStage.STREAMING else Beginning.CREATE


def _adopted(facts: StartFacts) -> Beginning:
    if facts.accepts_gap:
        return Beginning.ADOPT
    raise PositionLost(facts.operation, _end_of(facts.sink), str(facts.confirmed))


def _created_again(facts: StartFacts) -> Beginning:
    if facts.accepts_gap:
        return Beginning.CREATE
    raise PositionLost(facts.operation, _end_of(facts.sink), None, facts.invalidated)


def _end_of(position: FeedPosition | None) -> str | None:
    return None if position is None else str(position.lsn)


def _foreign(facts: StartFacts, position: FeedPosition) -> FeedError | ServerError | None:
    """Return the error for a position that this server never had."""
    if position.system_id != facts.system_id:
        return WrongSource(
            facts.operation,
            f"the sink's position is of the cluster {position.system_id}, and this is"
            f" {facts.system_id}",
        )
    if position.stage is not FeedStage.STREAMING:
        return None
    if position.lsn > facts.reached:
        return AheadOfServer(facts.operation, str(position.lsn), str(facts.reached))
    if not (position.timeline and facts.timeline) or position.timeline == facts.timeline:
        return None
    history = facts.history
    known = history is not None and position.timeline in history.timelines
    left = history.switchpoint(position.timeline) if history is not None and known else None
    if left is None:
        return WrongSource(
            facts.operation,
            f"the sink's position is on timeline {position.timeline}, which is not in the history"
            f" of timeline {facts.timeline}",
        )
    if position.lsn > left:
        return WrongSource(
            facts.operation,
            f"the server left timeline {position.timeline} at {left}, and the sink has"
            f" transactions up to {position.lsn}, which were lost in the failover",
            remedy="compare the data; continue with another slot and another sink",
        )
    return None
