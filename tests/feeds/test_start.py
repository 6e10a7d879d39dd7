"""decide_start: the start of a feed, by the positions of the sink and of the slot."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from feedfacts import START

from pgreplkit import LSN, TimelineHistory
from pgreplkit.catalog.logical.publication import PublishedTable
from pgreplkit.errors import (
    AheadOfServer,
    Error,
    FeedError,
    PositionLost,
    TableNotFound,
    WrongSource,
)
from pgreplkit.feeds import FeedStage
from pgreplkit.feeds.start import (
    Beginning,
    StartFacts,
    added_tables,
    decide_start,
    invalidation,
    resumed,
    slot_refusal,
)
from pgreplkit.values.tablename import table_of

FACTS = StartFacts(
    operation="run the feed 'orders'",
    system_id=7,
    timeline=1,
    history=None,
    reached=LSN("0/9000"),
    has_slot=True,
    confirmed=LSN("0/100"),
    sink=START,
    numbering=0,
    copies=False,
    ends_after_copy=False,
    accepts_gap=False,
)
CREATING = attrs.evolve(START, stage=FeedStage.CREATING, lsn=LSN.INVALID, is_whole=False)
COPYING = attrs.evolve(START, stage=FeedStage.COPYING, number=5, is_whole=False)
PART = attrs.evolve(START, lsn=LSN("0/200"), number=5, is_whole=False)
HISTORY = TimelineHistory.parse("1\t0/50\tx\n2\t0/180\tx", timeline=3)


@pytest.mark.parametrize(
    ("facts", "beginning"),
    [
        ({"sink": None, "has_slot": False, "confirmed": None}, Beginning.CREATE),
        ({"sink": CREATING, "has_slot": False, "confirmed": None}, Beginning.CREATE),
        ({"sink": CREATING}, Beginning.ADOPT),
        ({"sink": CREATING, "copies": True}, Beginning.CREATE),
        ({"sink": COPYING, "copies": True}, Beginning.CREATE),
        ({"sink": COPYING, "copies": True, "has_slot": False}, Beginning.CREATE),
        ({}, Beginning.CONTINUE),
        ({"confirmed": LSN("0/90")}, Beginning.CONTINUE),
        ({"sink": PART}, Beginning.CONTINUE),
        ({"confirmed": LSN("0/101"), "accepts_gap": True}, Beginning.ADOPT),
        ({"sink": None, "accepts_gap": True}, Beginning.ADOPT),
        ({"has_slot": False, "confirmed": None, "accepts_gap": True}, Beginning.CREATE),
        ({"invalidated": "wal_removed", "accepts_gap": True}, Beginning.CREATE),
        ({"invalidated": "wal_removed", "accepts_gap": True, "sink": None}, Beginning.CREATE),
        ({"invalidated": "wal_removed", "sink": CREATING}, Beginning.CREATE),
        ({"numbering": 5}, Beginning.CONTINUE),
        ({"ends_after_copy": True, "has_slot": False, "sink": None}, Beginning.CREATE),
        ({"ends_after_copy": True, "has_slot": False, "sink": COPYING}, Beginning.CREATE),
        ({"ends_after_copy": True, "has_slot": False}, Beginning.NOTHING),
        ({"sink": attrs.evolve(PART, numbering=5), "numbering": 5}, Beginning.CONTINUE),
        ({"timeline": 3, "history": HISTORY, "sink": attrs.evolve(START, timeline=2)}, "continue"),
        ({"timeline": 0, "sink": attrs.evolve(START, timeline=9)}, Beginning.CONTINUE),
        ({"timeline": 9, "sink": attrs.evolve(START, timeline=0)}, Beginning.CONTINUE),
    ],
)
def test_a_feed_begins_where_the_sink_ends(
    facts: dict[str, Any], beginning: Beginning | str
) -> None:
    assert decide_start(attrs.evolve(FACTS, **facts)) is Beginning(beginning)


@pytest.mark.parametrize(
    ("facts", "kind", "found"),
    [
        ({"sink": None}, PositionLost, "the sink has no position, and the slot begins at 0/100"),
        ({"confirmed": LSN("0/101")}, PositionLost, "ends at 0/100, and the slot begins at 0/101"),
        ({"sink": PART, "confirmed": LSN("0/200")}, PositionLost, "the slot begins at 0/200"),
        ({"has_slot": False, "confirmed": None}, PositionLost, "and the slot does not exist"),
        (
            {"invalidated": "wal_removed"},
            PositionLost,
            r"ends at 0/100, and the server has invalidated the slot \(wal_removed\)",
        ),
        ({"invalidated": "x", "sink": None}, PositionLost, "has no position, and the server has"),
        (
            {"sink": PART, "numbering": 5},
            FeedError,
            "the first 5 changes of the transaction that ends at 0/200, numbered with other",
        ),
        ({"ends_after_copy": True}, FeedError, "a slot of that name exists; use another"),
        ({"ends_after_copy": True, "has_slot": False, "system_id": 8}, WrongSource, "cluster 7"),
        ({"system_id": 8}, WrongSource, "of the cluster 7, and this is 8"),
        ({"system_id": 8, "sink": COPYING}, WrongSource, "of the cluster 7, and this is 8"),
        ({"reached": LSN("0/99")}, AheadOfServer, "its WAL ends at 0/99, before 0/100"),
        (
            {"timeline": 3, "history": HISTORY},
            WrongSource,
            "left timeline 1 at 0/50, and the sink has transactions up to 0/100",
        ),
        (
            {"timeline": 3, "history": HISTORY, "sink": attrs.evolve(START, timeline=4)},
            WrongSource,
            "on timeline 4, which is not in the history of timeline 3",
        ),
    ],
)
def test_a_position_that_the_slot_cannot_continue_is_refused(
    facts: dict[str, Any], kind: type[Error], found: str
) -> None:
    with pytest.raises(kind, match=found):
        decide_start(attrs.evolve(FACTS, **facts))


@pytest.mark.parametrize(
    ("plugin", "database", "found"),
    [
        (None, None, "the slot 's' is physical; use another"),
        ("pgoutput", "other", "of the plugin pgoutput in the database other"),
        ("test_decoding", "shop", "of the plugin test_decoding in the database shop"),
    ],
)
def test_a_slot_that_does_not_belong_to_a_feed_is_refused(
    plugin: str | None, database: str | None, found: str
) -> None:
    assert found in str(slot_refusal("run the feed 's'", "s", plugin, database, "shop"))
    of_feed = ("run the feed 's'", "s", "pgoutput", "shop", "shop")
    assert slot_refusal(*of_feed) is None
    assert "only prepared (two_phase)" in str(slot_refusal(*of_feed, is_two_phase=True))


@pytest.mark.parametrize(
    ("status", "reason", "found"),
    [
        (None, None, ""),
        ("reserved", None, ""),
        ("unreserved", None, ""),
        ("lost", None, "its WAL is removed"),
        ("lost", "idle_timeout", "idle_timeout"),
    ],
)
def test_an_invalidated_slot_is_recognized_on_each_version(
    status: str | None, reason: str | None, found: str
) -> None:
    assert invalidation(status, reason) == found


def test_rows_of_added_tables_follow_everything_before_their_snapshot() -> None:
    adding = attrs.evolve(PART, stage=FeedStage.ADDING)
    continued = attrs.evolve(PART, is_whole=True)
    assert [resumed(one) for one in (adding, PART, COPYING, None)] == [
        *(continued, PART, COPYING, None)
    ]
    # The slot may be confirmed up to the snapshot.
    facts = attrs.evolve(FACTS, sink=resumed(adding), confirmed=PART.lsn)
    assert decide_start(facts) is Beginning.CONTINUE


def test_added_tables_are_among_the_published_ones() -> None:
    published = [PublishedTable("a"), PublishedTable("s.b"), PublishedTable("c")]
    b, a = table_of("s.b"), table_of("a")
    assert added_tables("add", published, [b, a, b]) == [published[1], published[0]]
    with pytest.raises(TableNotFound, match=r"have the table public\.d; they have: none; ALTER"):
        added_tables("add", [], [table_of("d")])
