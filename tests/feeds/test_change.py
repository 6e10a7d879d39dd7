"""The changes of a feed."""

from __future__ import annotations

from datetime import UTC, datetime

import attrs
from applyfacts import INT, source
from feedfacts import SOURCE, change

from pgreplkit import LSN
from pgreplkit.feeds import FeedChange, FeedOperation
from pgreplkit.feeds.change import change_name, not_encoded

TABLE = source(("id", INT, True))
INSERT = FeedChange(SOURCE, FeedOperation.INSERT, LSN("0/5"), 3, 7, 1_000_000, (TABLE,))


def test_the_name_of_a_change_has_its_only_table() -> None:
    assert change_name(INSERT) == "0/5, number 3, of public.t"
    assert change_name(change(LSN("0/5"), 1)) == "0/5, number 1"
    several = FeedChange(
        SOURCE, FeedOperation.TRUNCATE, LSN("0/5"), 3, 7, 0, (TABLE, attrs.evolve(TABLE, name="u"))
    )
    assert change_name(several) == "0/5, number 3"
    assert change_name(several, several.tables[1]) == "0/5, number 3, of public.u"


def test_an_error_of_an_encoder_can_be_found_again() -> None:
    error = not_encoded(INSERT, "it is not UTF-8")
    assert (error.lsn, error.number) == ("0/5", 3)
    assert str(error) == "could not encode the change 0/5, number 3, of public.t: it is not UTF-8"


def test_the_time_of_a_change_counts_from_2000() -> None:
    assert INSERT.commit_time == datetime(2000, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert INSERT.table is TABLE
