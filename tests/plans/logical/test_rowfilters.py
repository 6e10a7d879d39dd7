"""Row filters and column lists: the statements that test them, without servers."""

from __future__ import annotations

import pytest

from pgreplkit.catalog.logical.publication import PublicationState
from pgreplkit.driver.statements import filter_trial
from pgreplkit.plans.logical.rowfilters import filter_trials

RECORDS = [
    {"schema": "public", "name": "t", "column": "id"},
    {"schema": "Sales", "name": 'a"b', "column": "Total"},
]


def publication(*, update: bool, delete: bool) -> PublicationState:
    return PublicationState(
        pubname="p",
        pubowner="me",
        puballtables=False,
        pubinsert=True,
        pubupdate=update,
        pubdelete=delete,
    )


@pytest.mark.parametrize("update", [True, False])
def test_a_published_delete_tests_the_filter_of_each_table(update: bool) -> None:
    trials = filter_trials(publication(update=update, delete=True), RECORDS)
    assert [filter_trial(trial).as_string() for trial in trials] == [
        'EXPLAIN DELETE FROM ONLY "public"."t" WHERE false',
        'EXPLAIN DELETE FROM ONLY "Sales"."a""b" WHERE false',
    ]
    assert trials[1].privilege == 'DELETE ON "Sales"."a""b"'


def test_without_a_published_delete_an_update_tests_the_filter() -> None:
    trials = filter_trials(publication(update=True, delete=False), RECORDS)
    assert [filter_trial(trial).as_string() for trial in trials] == [
        'EXPLAIN UPDATE ONLY "public"."t" SET "id" = "id" WHERE false',
        'EXPLAIN UPDATE ONLY "Sales"."a""b" SET "Total" = "Total" WHERE false',
    ]
    assert trials[0].privilege == "UPDATE ON public.t"
    assert "the replica identity of public.t" in trials[0].remedy
