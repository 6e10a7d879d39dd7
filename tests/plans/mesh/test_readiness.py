"""Whether nodes can be a mesh: each fault is a finding."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import attrs
import pytest
from logicalfacts import RIGHTS
from meshfacts import NOW, USERS, critical, found, members, node, table
from serverfacts import insufficient_settings, settings, settings_named

from pgreplkit.plans.mesh.status import MeshStream, StreamState
from pgreplkit.values.finding import Severity
from pgreplkit.values.tablename import TableName


def test_servers_that_have_all_are_ready() -> None:
    assert critical(node("a", with_rows=(USERS,)), node("b")) == set()


WRONG: Mapping[str, tuple[str, object]] = {
    "role of b": ("in_recovery", True),
    "encodings": ("encoding", "LATIN1"),
    "databases": ("system_id", "a"),  # and the same start
    "rows": ("with_rows", (USERS,)),
    "membership": ("members", members("a", "b")),
    "publication of b": ("published", ()),
    "replication of b": ("may_replicate", False),
    "read-write transactions of b": ("rights", attrs.evolve(RIGHTS, is_read_only=True)),
    "schema pgreplkit of b": ("rights", attrs.evolve(RIGHTS, may_create=False)),
    "session_replication_role of b": ("rights", attrs.evolve(RIGHTS, may_set_role=False)),
    "replication origins of b": ("rights", attrs.evolve(RIGHTS, may_use_origins=False)),
    "sequences of b": ("hidden", (USERS,)),
    "privileges on public.users of b": ("tables", {USERS: table(lacks=("TRIGGER",))}),
    "slot names": ("foreign_slots", ("pgreplkit_shop_b_a",)),
    "other meshes": ("others", {"two": (USERS,)}),
    "ties": ("major", 13),
    "max_replication_slots of b": ("slots", 10),
    "max_wal_senders of b": ("senders", 10),
    "max_active_replication_origins of b": ("origins", 10),
    "table public.users": ("tables", {USERS: None}),
    "unique columns of public.users": ("tables", {USERS: table(keys=(("id",), ("mail",)))}),
    "inheritance of public.users": ("children", {USERS: (TableName("public", "guests"),)}),
    "rules of public.users": ("tables", {USERS: table(rules=("r",))}),
    "replica identity of public.users": ("without_full", {USERS: ("public.users",)}),
}


@pytest.mark.parametrize("check", WRONG)
def test_nodes_that_cannot_converge_or_run_are_refused(check: str) -> None:
    field, value = WRONG[check]
    assert check in critical(node("a"), node("b", **{field: value}))


def test_a_promoted_clone_and_another_database_of_a_server_are_other_nodes() -> None:
    for changed in ({"started_at": NOW + timedelta(microseconds=1)}, {"database": "other"}):
        assert critical(node("a"), node("b", system_id="a", **changed)) == set()


def test_sequences_that_the_role_may_not_read_are_not_ok() -> None:
    assert "sequences" in found(node("a"), node("b"))
    assert "sequences" not in found(node("a"), node("b", hidden=(USERS,)))


def test_before_18_the_limit_of_slots_is_also_that_of_origins() -> None:
    # The origins of nodes that have left stay.
    many = node("b", major=17, slots=1, origins=10)
    assert critical(node("a"), many) == {"max_replication_slots of b"}


def test_a_table_of_another_owner_is_published_by_an_administrator() -> None:
    other = node("b", owns_tables=False)
    assert critical(node("a"), other) == {"publication of b"}
    assert "setup_sql('mover')" in found(node("a"), other)["publication of b"].remedy
    assert not critical(node("a"), attrs.evolve(other, published=(USERS,)))
    # A member has its publication.
    own = members("a", "b")
    both = node("a", members=own), attrs.evolve(other, members=own)
    assert not critical(*both, node("c"), new=("c",))


def test_without_a_table_nothing_is_said_about_the_publication() -> None:
    empty = [node(name, tables={}, owns_tables=False) for name in ("a", "b")]
    assert critical(*empty) == {"tables"}
    missing = [node(name, tables={USERS: None}, owns_tables=False) for name in ("a", "b")]
    assert critical(*missing) == {"table public.users"}


def test_each_passed_check_says_what_it_found() -> None:
    ready = {check: finding.found for check, finding in found(node("a"), node("b")).items()}
    assert ready["nodes"] == "2: a, b"
    assert ready["databases"] == "each node is another database"
    assert ready["encodings"] == "UTF8 on a, UTF8 on b"
    assert ready["membership"] == "no mesh 'shop' has a, b"
    assert ready["slot names"] == "no other database has slots of these names"
    assert ready["other meshes"] == "no other mesh has these tables"
    assert ready["ties"] == "decided by rank on all nodes"
    assert ready["sequences of b"] == "mover may read those of the tables"
    assert ready["privileges on public.users of b"] == "mover has all"
    assert ready["publication of b"] == "it does not exist, and mover owns the tables"
    assert ready["unique columns of public.users"] == "none except for the key"
    assert ready["key of public.users"] == "it has a key"
    assert ready["deletions in public.users"] == "they are found again by the key"
    assert ready["replica identity of public.users"] == "it suffices"
    assert ready["table public.users"] == "the same on all nodes"
    assert ready["rows"] == "the tables of the new nodes are empty"
    assert ready["sequences"] == "no two nodes can draw the same number"
    assert "foreign keys of public.users" not in ready


def test_a_member_needs_one_more_place_and_a_new_node_one_for_each_other() -> None:
    same = members("a", "b")
    full = settings(
        wal_level="logical",
        track_commit_timestamp="on",
        max_replication_slots=3,
        max_wal_senders=3,
        max_active_replication_origins=3,
    )
    joining = {"new": ("c",), "first": "a"}
    member = node("a", members=same, settings=full, slots=2), node("b", members=same)
    assert not critical(*member, node("c", settings=full, slots=1), **joining)
    assert critical(*member, node("c", settings=full, slots=2), **joining) == {
        "max_replication_slots of c"
    }
    crowded = attrs.evolve(member[0], slots=3)
    assert critical(crowded, member[1], node("c"), **joining) == {"max_replication_slots of a"}


def test_a_clock_may_be_a_second_off() -> None:
    off = timedelta(seconds=1)
    assert found(node("a", skew=-off / 2), node("b", skew=off / 2))["clocks"].severity is (
        Severity.OK
    )
    assert found(node("a", skew=-off), node("b", skew=off / 2))["clocks"].severity is (
        Severity.WARNING
    )


def test_settings_a_single_node_and_disagreeing_members_are_refused() -> None:
    off = settings(wal_level="replica", track_commit_timestamp="off")
    wrong = critical(node("a"), node("b", settings=off))
    assert {"wal_level of b", "track_commit_timestamp of b"} <= wrong
    assert "nodes" in critical(node("a"))
    own = critical(
        node("a", members=members("a", "b")),
        node("b", members=members("b", "a")),
        node("c"),
        new=("c",),
    )
    assert own == {"members"}
    keyless = node("b", tables={USERS: table(keys=())})
    assert "key of public.users" in critical(node("a"), keyless)
    citext = table()
    columns = tuple(attrs.evolve(each, base_oid=99_999) for each in citext.columns)
    loose = node("b", tables={USERS: attrs.evolve(citext, columns=columns)})
    assert "deletions in public.users" in critical(node("a"), loose)
    virtual = node("b", with_virtual=(USERS,))
    assert "virtual columns of public.users" in critical(node("a"), virtual)


def test_clocks_that_differ_and_foreign_keys_are_reported() -> None:
    findings = found(node("a", with_foreign_keys=(USERS,)), node("b", skew=timedelta(seconds=3)))
    assert findings["clocks"].severity is Severity.WARNING
    nodes = node("a"), node("b", skew=timedelta(seconds=7))
    assert "clocks" in critical(*nodes)
    assert "clocks" not in critical(*nodes, max_clock_skew=timedelta(seconds=8))
    assert findings["foreign keys of public.users"].severity is Severity.INFO


@pytest.mark.parametrize("version", range(10, 19))
def test_remedies_set_settings_that_the_version_has(version: int) -> None:
    low = insufficient_settings(version)
    nodes = [node(name, major=version, settings=low, slots=9, origins=9) for name in "ab"]
    named = settings_named(found(*nodes).values())
    assert named <= low.keys()
    assert named >= {"wal_level", "max_replication_slots", "track_commit_timestamp"}
    assert ("max_active_replication_origins" in named) == (version >= 18)


@pytest.mark.parametrize(
    ("state", "severity"),
    [
        (StreamState.STREAMING, Severity.OK),
        (StreamState.STOPPED, Severity.WARNING),
        (StreamState.LOST, Severity.CRITICAL),
        (StreamState.MISSING, Severity.CRITICAL),
    ],
)
def test_a_donor_must_get_the_changes_of_the_other_members(
    state: StreamState, severity: Severity
) -> None:
    stream = MeshStream(source="b", target="a", state=state, behind_bytes=5)
    findings = found(node("a"), node("b"), node("c"), new=("c",), streams=(stream,))
    finding = findings["stream from b to a"]
    assert (finding.severity, finding.found) == (severity, f"{state}, 5 bytes of WAL behind")
