"""The phases, groups, steps and preconditions of a major upgrade."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from upgradefacts import NO_KEY, side, table

from pgreplkit.catalog.cluster.upgrade import UserTable
from pgreplkit.errors import InvalidSlotName
from pgreplkit.plans.cluster import upgradesteps as do
from pgreplkit.plans.cluster.journal import Journal
from pgreplkit.plans.cluster.steps import Step
from pgreplkit.plans.cluster.upgrade import (
    Names,
    TableGroup,
    checked_upgrade_name,
    cutover_journal,
    finish_journal,
    groups_of,
    insist_on_groups,
    prepare_journal,
    rollback_journal,
)
from pgreplkit.plans.cluster.upgradechecks import upgrade_findings
from pgreplkit.plans.cluster.upgradefacts import UpgradeFacts
from pgreplkit.plans.logical.drift import Drift, DriftKind, SchemaDrift
from pgreplkit.values.finding import Finding, Severity
from pgreplkit.values.tablename import TableName

NAMES = Names(upgrade="shop")
GROUPS = {"shop_1": ("public.a", "public.b"), "shop_2": ("public.c",)}
JOURNALS = [
    cutover_journal(NAMES, GROUPS, way_back=True),
    cutover_journal(NAMES, GROUPS, way_back=False),
    rollback_journal(NAMES, GROUPS),
]


@given(
    st.lists(st.integers(0, 1000), min_size=1, max_size=12),
    st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=8),
    st.integers(1, 5),
)
def test_groups_have_each_table_once_and_keep_joined_tables_together(
    sizes: list[int], joins: list[tuple[int, int]], count: int
) -> None:
    joined = {a: [f"t{b}" for x, b in joins if x == a] for a, _ in joins}
    tables = [table(f"t{n}", size, tuple(joined.get(n, ()))) for n, size in enumerate(sizes)]
    groups = groups_of(tables, count)
    insist_on_groups(groups, tables)
    assert len(groups) <= count
    place = {name: number for number, group in enumerate(groups) for name in group.tables}
    known = {one.table for one in tables}
    assert all(
        place[one.table] == place[other] for one in tables for other in one.joined if other in known
    )
    assert sum(group.bytes for group in groups) == sum(sizes)


def test_partitions_stay_together_and_their_root_is_not_copied() -> None:
    root = table("root", kind="p")
    leaves = [table(f"leaf{n}", 10, ("root",)) for n in (1, 2)]
    groups = groups_of([root, *leaves, table("other", 30)], 2)
    assert [[t.name for t in group.tables] for group in groups] == [["other"], ["leaf1", "leaf2"]]


def test_groups_that_leave_out_a_table_or_have_it_twice_are_refused() -> None:
    a, b = table("a"), table("b")
    wrong = [TableGroup(tables=(a.table, a.table, TableName("public", "x")), bytes=0)]
    with pytest.raises(
        ValueError, match=r"two groups: public.a; in no group: public.b; .*x \(no such table\)"
    ):
        insist_on_groups(wrong, [a, b])
    root = table("root", kind="p")
    with pytest.raises(ValueError, match=r"public.root \(its partitions are copied\)"):
        insist_on_groups([TableGroup(tables=(a.table, root.table), bytes=0)], [a, root])
    with pytest.raises(TypeError, match=r"those of groups\(\), not str"):
        insist_on_groups("abc", [a])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="count"):
        groups_of([a], 0)


def test_a_name_leaves_room_for_suffixes() -> None:
    assert checked_upgrade_name("shop18") == "shop18"
    for name in ("", "Shop", "a" * 41, "a-b"):
        with pytest.raises(InvalidSlotName):
            checked_upgrade_name(name)


def test_the_objects_of_an_upgrade_are_found_by_their_names() -> None:
    there = ["shop_10", "shop_2", "shop_2_back", "shop_x", "other_1", "shop"]
    assert NAMES.forward_in(there) == ["shop_2", "shop_10"]
    assert NAMES.back_in(there) == ["shop_2_back"]


def at(journal: Journal, kind: type[Step], node: str) -> int:
    [number] = [n for n, s in enumerate(journal.steps) if isinstance(s, kind) and s.node == node]
    return number


@pytest.mark.parametrize("journal", JOURNALS, ids=lambda journal: journal.operation)
def test_no_prefix_of_a_move_or_of_its_undo_leaves_both_servers_open(journal: Journal) -> None:
    source, target = ("new", "old") if "rollback" in journal.operation else ("old", "new")
    fenced, opened = at(journal, do.FenceTables, source), at(journal, do.OpenTables, target)
    assert fenced < at(journal, do.WaitApplied, target) < at(journal, do.SetSequences, target)
    assert at(journal, do.SetSequences, target) < at(journal, do.StopSubscriptions, target) < opened
    assert opened < at(journal, do.Redirect, target)
    for done in range(len(journal.steps) + 1):
        prefix = journal.steps[:done]
        open_now = {source} if fenced >= done else set()
        if opened < done:
            open_now.add(target)
            # Undoing would open the source, too.
            assert any(step.is_final for step in prefix)
        assert len(open_now) <= 1
        states = journal.writes
        assert states is not None
        state = states.states[done]
        if done <= fenced:
            assert state.startswith(f"the {source} server accepts writes")
        elif done > opened:
            assert state == f"the {target} server accepts writes"
        else:
            assert state.startswith("no server accepts writes")


def test_the_way_back_is_armed_while_nothing_writes() -> None:
    journal = cutover_journal(NAMES, GROUPS, way_back=True)
    slots = at(journal, do.MakeBackSlots, "new")
    assert at(journal, do.StopSubscriptions, "new") < slots < at(journal, do.OpenTables, "new")
    assert at(journal, do.FenceTables, "old") > max(
        n for n, step in enumerate(journal.steps) if isinstance(step, do.PublishTables)
    )
    back = rollback_journal(NAMES, GROUPS)
    armed = at(back, do.ArmForward, "new")
    assert at(back, do.StopSubscriptions, "old") < armed
    assert armed < at(back, do.OpenTables, "old") < at(back, do.Redirect, "old")
    # Steps that wait for others come when the clients have moved.
    for moved, node in ((journal, "new"), (back, "old")):
        assert at(moved, do.RemoveFence, node) == len(moved.steps) - 1


def test_indexes_are_built_after_the_copy_and_keys_before() -> None:
    groups = [TableGroup(tables=(TableName("public", name),), bytes=1) for name in "ab"]
    steps = prepare_journal(NAMES, groups, copies_schema=True).steps
    kinds = [type(step) for step in steps]
    order = [
        do.CopyTables,
        do.CopyKeys,
        do.FenceTables,
        do.PublishTables,
        do.KeepSchema,
        do.Subscribe,
        do.WaitCopied,
        do.StopSubscriptions,
        do.CopyIndexes,
        do.StartSubscriptions,
        do.Analyze,
    ]
    assert sorted(order, key=kinds.index) == order
    assert (kinds[-1], steps[-1].node) == (do.KeepSchema, "new")
    alone = prepare_journal(NAMES, groups, copies_schema=False).steps
    assert {do.CopyTables, do.CopyKeys, do.CopyIndexes} & {*map(type, alone)} == set()


def test_every_journal_survives_its_json() -> None:
    groups = [TableGroup(tables=(TableName("public", "a"),), bytes=1)]
    for journal in (
        *JOURNALS,
        prepare_journal(NAMES, groups, copies_schema=True),
        finish_journal(NAMES, [*GROUPS], back=["shop_1_back"]),
    ):
        assert Journal.from_json(journal.to_json()) == journal
        assert all(step.description and step.action for step in journal.steps)


def facts_of(
    tables: tuple[UserTable, ...] = (table("a"),),
    old: dict[str, object] | None = None,
    new: dict[str, object] | None = None,
    **more: object,
) -> UpgradeFacts:
    whole: dict[str, object] = {"identities": (), "nonempty": (), "groups": 1, **more}
    return UpgradeFacts(
        old=side(14, 1, old),
        new=side(18, 2, new),
        tables=tables,
        **whole,  # type: ignore[arg-type]
    )


def test_two_ordinary_databases_are_ready() -> None:
    assert {f.severity for f in upgrade_findings(facts_of())} == {Severity.OK}
    # From 16 on, the apply worker uses any index.
    slow = facts_of(tables=(table("a", slow_changes=1),), new={"version": 160020})
    assert {f.severity for f in upgrade_findings(slow)} == {Severity.OK}
    # Limits that only the other server's copies need.
    other = facts_of(groups=3, new={"settings": {"max_wal_senders": 8, "max_replication_slots": 8}})
    assert {f.severity for f in upgrade_findings(other)} == {Severity.OK}


CRITICAL, WARNING = Severity.CRITICAL, Severity.WARNING
MISSING = Drift(
    kind=DriftKind.COLUMN_MISSING,
    table=TableName("public", "a"),
    name="x",
    severity=CRITICAL,
    found="missing",
    ddl=("ALTER TABLE public.a ADD x int",),
)


def finding(remedy: str, severity: Severity) -> Finding:
    return Finding(check="s", severity=severity, found="", needed="", remedy=remedy)


BAD: list[tuple[str, Severity, str, UpgradeFacts]] = [
    ("databases", CRITICAL, "connect", facts_of(new={"system_id": 1})),
    ("direction", CRITICAL, "exchange", facts_of(new={"version": 130020})),
    (
        "old: wal_level",
        CRITICAL,
        "ALTER SYSTEM",
        facts_of(old={"settings": {"wal_level": "replica"}}),
    ),
    (
        "new: wal_level",
        CRITICAL,
        "ALTER SYSTEM",
        facts_of(new={"settings": {"wal_level": "replica"}}),
    ),
    (
        "old: max_replication_slots",
        CRITICAL,
        "ALTER SYSTEM",
        facts_of(old={"settings": {"max_replication_slots": 1}}),
    ),
    (
        "old: max_wal_senders",
        CRITICAL,
        "ALTER SYSTEM",
        facts_of(old={"settings": {"max_wal_senders": 1}}),
    ),
    (
        "new: max_logical_replication_workers",
        CRITICAL,
        "ALTER SYSTEM",
        facts_of(new={"settings": {"max_logical_replication_workers": 1}}),
    ),
    (
        "old: max_slot_wal_keep_size",
        WARNING,
        "ALTER SYSTEM",
        facts_of(old={"settings": {"max_slot_wal_keep_size": 1 << 20}}),
    ),
    ("tables", CRITICAL, "connect", facts_of(tables=())),
    ("replica identity", CRITICAL, "ALTER TABLE a", facts_of(identities=(NO_KEY,))),
    (
        "types without equality",
        CRITICAL,
        "j",
        facts_of(tables=(table("a", unequal_columns=("j",)),)),
    ),
    (
        "triggers that fire on apply",
        WARNING,
        'ALTER TABLE public.a ENABLE TRIGGER "T"',
        facts_of(tables=(table("a", firing=("T",)),)),
    ),
    (
        "unlogged tables",
        WARNING,
        "ALTER TABLE public.u SET LOGGED",
        facts_of(tables=(table("a"), table("u", persistence="u"))),
    ),
    ("foreign tables", WARNING, "reaches", facts_of(tables=(table("a"), table("f", kind="f")))),
    (
        "materialized views",
        WARNING,
        "REFRESH MATERIALIZED VIEW public.m",
        facts_of(tables=(table("a"), table("m", kind="m"))),
    ),
    (
        "rows on the new server",
        CRITICAL,
        "TRUNCATE public.a",
        facts_of(nonempty=(TableName("public", "a"),)),
    ),
    ("large objects", CRITICAL, "bytea", facts_of(old={"large_objects": 3})),
    ("extensions", CRITICAL, "install", facts_of(old={"extensions": {"postgis": "3"}})),
    ("owners", CRITICAL, "roles-only", facts_of(old={"owners": frozenset(["boss"])})),
    ("roles", WARNING, "clerk", facts_of(old={"roles": frozenset(["app", "clerk"])})),
    ("encoding", WARNING, "LATIN1", facts_of(old={"encoding": "LATIN1"})),
    ("collation", WARNING, "CREATE DATABASE", facts_of(new={"collation": "C.UTF-8"})),
    (
        "functions without a search_path",
        CRITICAL,
        "ALTER FUNCTION g(int) SET search_path FROM CURRENT",
        facts_of(old={"unsafe_functions": ("f()", "g(int)")}),
    ),
    ("old: minor release", WARNING, "latest", facts_of(old={"version": 160011})),
    ("new: minor release", WARNING, "latest", facts_of(new={"version": 170007})),
    (
        "old reaches new",
        CRITICAL,
        "'new'",
        facts_of(old={"connection_error": "no pg_hba.conf entry"}),
    ),
    (
        "new reaches old",
        CRITICAL,
        "pg_hba.conf of the old",
        facts_of(new={"connection_error": "refused"}),
    ),
    (
        "new: timeouts",
        WARNING,
        "ALTER ROLE CURRENT_USER SET statement_timeout = 0",
        facts_of(new={"settings": {"statement_timeout": 5}}),
    ),
    (
        "new: max_worker_processes",
        CRITICAL,
        "ALTER SYSTEM",
        facts_of(new={"settings": {"max_worker_processes": 1}}),
    ),
    (
        "new: max_active_replication_origins",
        CRITICAL,
        "ALTER SYSTEM SET max_active_replication_origins = 3",
        facts_of(new={"settings": {"max_active_replication_origins": 2}}),
    ),
    (
        "new: max_replication_slots",
        CRITICAL,
        "ALTER SYSTEM SET max_replication_slots = 3",
        facts_of(new={"version": 170020, "settings": {"max_replication_slots": 2}}),
    ),
    (
        "copies at once",
        WARNING,
        "ALTER SYSTEM SET max_logical_replication_workers = 9 on the new server",
        facts_of(groups=3, new={"settings": {"max_logical_replication_workers": 8}}),
    ),
    (
        "copies at once",
        WARNING,
        "ALTER SYSTEM SET max_wal_senders = 9 on the old server",
        facts_of(groups=3, old={"settings": {"max_wal_senders": 8}}),
    ),
    (
        "updates without an index",
        WARNING,
        "public.a REPLICA IDENTITY",
        facts_of(tables=(table("a", slow_changes=1, has_index=False),)),
    ),
    (
        "updates without an index",
        WARNING,
        "public.a REPLICA IDENTITY",
        facts_of(tables=(table("a", slow_changes=1),), new={"version": 150020}),
    ),
    (
        "generated columns",
        Severity.INFO,
        "computes",
        facts_of(tables=(table("a", generated=("g",)),)),
    ),
    (
        "late constraints",
        WARNING,
        'ALTER TABLE public.a DROP CONSTRAINT "x"',
        facts_of(tables=(table("a", late_constraints=("x",)),)),
    ),
    (
        "large values",
        WARNING,
        "public.a",
        facts_of(tables=(table("a", value_bytes=1 << 28),)),
    ),
    (
        "older extensions",
        WARNING,
        "postgis 3.9 < 3.10",
        facts_of(old={"extensions": {"postgis": "3.10"}}, new={"available": {"postgis": "3.9"}}),
    ),
    ("rows of extensions", WARNING, "cron.job", facts_of(old={"filled_extensions": ("cron.job",)})),
    (
        "tablespaces",
        CRITICAL,
        "CREATE TABLESPACE fast",
        facts_of(old={"used_tablespaces": ["fast"]}),
    ),
    (
        "memberships",
        WARNING,
        "GRANT a TO b",
        facts_of(
            old={"memberships": ("GRANT a TO b", "GRANT c TO d")},
            new={"memberships": ("GRANT c TO d",)},
        ),
    ),
    ("md5 passwords", Severity.INFO, "of app", facts_of(old={"md5_roles": ("app",)})),
    (
        "collation version",
        WARNING,
        "range partitions",
        facts_of(old={"collation_version": "2.36"}, new={"collation_version": "2.41"}),
    ),
    ("other subscriptions", WARNING, "feed", facts_of(old={"subscriptions": ("feed",)})),
    (
        "sequences",
        WARNING,
        "ALTER SEQUENCE s",
        facts_of(sequences=(finding("ALTER SEQUENCE s", WARNING),)),
    ),
    (
        "tables on the new server",
        CRITICAL,
        "ALTER TABLE public.a ADD x int",
        facts_of(drift=SchemaDrift(drifts=(MISSING,))),
    ),
    (
        "functions without a search_path",
        WARNING,
        "search_path",
        facts_of(old={"unsafe_functions": ("f()",)}, new={"version": 160020}),
    ),
    (
        "database settings",
        WARNING,
        "ALTER ROLE b SET c TO 'd'; ALTER ROLE e SET f TO 'g'",
        facts_of(
            old={
                "database_settings": (
                    "ALTER ROLE b SET c TO 'd'",
                    "ALTER ROLE e SET f TO 'g'",
                    "ALTER DATABASE {} SET h TO 'i'",
                )
            },
            new={"database_settings": ("ALTER DATABASE {} SET h TO 'i'",)},
        ),
    ),
    ("event triggers", WARNING, "guard", facts_of(old={"event_triggers": ("guard",)})),
    ("other publications", WARNING, "feed", facts_of(old={"publications": ("feed",)})),
    ("old transactions", WARNING, "end 42", facts_of(old={"old_transactions": ("42",)})),
    ("prepared transactions", CRITICAL, "COMMIT PREPARED", facts_of(old={"prepared": ("x",)})),
]


@pytest.mark.parametrize(("check", "severity", "remedy", "facts"), BAD, ids=[b[0] for b in BAD])
def test_each_precondition_is_found_with_its_remedy(
    check: str, severity: Severity, remedy: str, facts: UpgradeFacts
) -> None:
    [bad] = [finding for finding in upgrade_findings(facts) if finding.severity > Severity.OK]
    assert (bad.check, bad.severity) == (check, severity)
    assert remedy in bad.remedy
