"""The steps of a major upgrade."""

from __future__ import annotations

from upgradefacts import GROUPS, JOURNALS, NAMES

from pgreplkit.plans.cluster.journal import Journal
from pgreplkit.plans.cluster.upgrade import finish_journal, prepare_journal
from pgreplkit.plans.cluster.upgradegroups import TableGroup
from pgreplkit.values.tablename import TableName


def test_every_journal_survives_its_json() -> None:
    groups = [TableGroup(tables=(TableName("public", "a"),), bytes=1)]
    for journal in (
        *JOURNALS,
        prepare_journal(NAMES, groups, copies_schema=True),
        finish_journal(NAMES, [*GROUPS], back=["shop_1_back"]),
    ):
        assert Journal.from_json(journal.to_json()) == journal
        assert all(step.description and step.action for step in journal.steps)
