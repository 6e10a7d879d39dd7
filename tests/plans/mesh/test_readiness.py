"""Whether nodes can be a mesh: each fault is a finding."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import attrs
import pytest
from meshfacts import USERS, members
from serverfacts import settings

from pgreplkit.apply import LastUpdateWins
from pgreplkit.catalog.logical.applytables import TargetColumn, TargetTable
from pgreplkit.plans.logical.applyreadiness import ApplyRights
from pgreplkit.plans.mesh.layout import Members
from pgreplkit.plans.mesh.readiness import (
    MeshFacts,
    MeshNodeFacts,
    leave_findings,
    mesh_findings,
    remove_findings,
)
from pgreplkit.plans.mesh.status import MeshStream, StreamState
from pgreplkit.values.finding import Finding, Severity
from pgreplkit.values.lsn import LSN
from pgreplkit.values.tablename import TableName


def table(**changed: object) -> TargetTable:
    column = TargetColumn(
        name="id",
        type="integer",
        type_oid=23,
        not_null=True,
        has_default=False,
        is_generated=False,
        identity="",
    )
    facts: dict[str, object] = {"columns": (column,), "keys": (("id",),)}
    return TargetTable(
        table=USERS,
        is_partitioned=False,
        hides_rows=False,
        **{"lacks": (), **facts, **changed},  # type: ignore[arg-type]
    )


RIGHTS = ApplyRights(
    role="mover",
    is_superuser=False,
    has_schema=True,
    may_create=True,
    session_role="origin",
    has_role_wrapper=False,
    has_origin_wrapper=False,
    may_use_origins=True,
    may_set_role=True,
)


def node(name: str, **changed: object) -> MeshNodeFacts:
    facts: dict[str, object] = {
        "name": name,
        "major": 18,
        "system_id": name,
        "database": "shop",
        "encoding": "UTF8",
        "in_recovery": False,
        "skew": timedelta(0),
        "slots": 0,
        "senders": 0,
        "origins": 0,
        "settings": settings(
            wal_level="logical",
            track_commit_timestamp="on",
            max_replication_slots=10,
            max_wal_senders=10,
            max_active_replication_origins=10,
        ),
        "tables": {USERS: table()},
        "with_rows": (),
        "without_full": (),
        "without_old_values": (),
        "with_foreign_keys": (),
        "sequences": (),
        "hidden": (),
        "members": Members(all=(), ties="rank"),
        "published": None,
        "owns_tables": True,
        "may_replicate": True,
        "rights": RIGHTS,
    }
    return MeshNodeFacts(**{**facts, **changed})  # type: ignore[arg-type]


def found(*nodes: MeshNodeFacts, **changed: object) -> dict[str, Finding]:
    facts: dict[str, object] = {
        "mesh": "shop",
        "nodes": nodes,
        "first": "a",
        "new": tuple(one.name for one in nodes),
        "policy": LastUpdateWins().converges(nodes=2),
        "ties": "rank",
    }
    findings = mesh_findings(MeshFacts(**{**facts, **changed}))  # type: ignore[arg-type]
    return {finding.check: finding for finding in findings}


def critical(*nodes: MeshNodeFacts, **changed: object) -> set[str]:
    findings = found(*nodes, **changed).values()
    return {one.check for one in findings if one.severity is Severity.CRITICAL}


def test_servers_that_have_all_are_ready() -> None:
    assert critical(node("a", with_rows=(USERS,)), node("b")) == set()


WRONG: Mapping[str, tuple[str, object]] = {
    "role of b": ("in_recovery", True),
    "encodings": ("encoding", "LATIN1"),
    "databases": ("system_id", "a"),
    "rows": ("with_rows", (USERS,)),
    "membership": ("members", members("a", "b")),
    "publication of b": ("published", ()),
    "replication of b": ("may_replicate", False),
    "schema pgreplkit of b": ("rights", attrs.evolve(RIGHTS, may_create=False)),
    "session_replication_role of b": ("rights", attrs.evolve(RIGHTS, may_set_role=False)),
    "replication origins of b": ("rights", attrs.evolve(RIGHTS, may_use_origins=False)),
    "sequences of b": ("hidden", (USERS,)),
    "privileges on public.users of b": ("tables", {USERS: table(lacks=("TRIGGER",))}),
    "ties": ("major", 13),
    "max_replication_slots of b": ("slots", 10),
    "max_wal_senders of b": ("senders", 10),
    "max_active_replication_origins of b": ("origins", 10),
    "table public.users": ("tables", {USERS: None}),
    "unique columns of public.users": ("tables", {USERS: table(keys=(("id",), ("mail",)))}),
    "replica identity of public.users": ("without_old_values", (USERS,)),
}


@pytest.mark.parametrize("check", WRONG)
def test_what_cannot_converge_or_run_is_refused(check: str) -> None:
    field, value = WRONG[check]
    assert check in critical(node("a"), node("b", **{field: value}))


def test_before_18_the_limit_of_slots_is_also_that_of_origins() -> None:
    # The origins of nodes that have left stay.
    many = node("b", major=17, slots=1, origins=10)
    assert critical(node("a"), many) == {"max_replication_slots of b"}


def test_every_index_that_refuses_rows_beside_the_key_is_named() -> None:
    held = table(keys=(("id",), ("mail",)), refusing=("users_lower_idx",))
    findings = found(node("a"), node("b", tables={USERS: held}))
    assert findings["unique columns of public.users"].found == "(mail), users_lower_idx on b"
    assert not critical(node("a"), node("b", tables={USERS: table(keys=(("id",), ("id",)))}))


def test_a_table_of_another_owner_is_published_by_an_administrator() -> None:
    other = node("b", owns_tables=False)
    assert critical(node("a"), other) == {"publication of b"}
    assert "setup_sql('mover')" in found(node("a"), other)["publication of b"].remedy
    assert not critical(node("a"), attrs.evolve(other, published=(USERS,)))
    # A member has its publication.
    own = members("a", "b")
    both = node("a", members=own), attrs.evolve(other, members=own)
    assert not critical(*both, node("c"), new=("c",))


def test_each_passed_check_says_what_it_found() -> None:
    ready = {check: finding.found for check, finding in found(node("a"), node("b")).items()}
    assert ready["nodes"] == "2: a, b"
    assert ready["databases"] == "each node is another database"
    assert ready["encodings"] == "UTF8 on a, UTF8 on b"
    assert ready["membership"] == "a, b belongs to no mesh 'shop'"
    assert ready["members"] == "all members have the same members and ranks stored"
    assert ready["ties"] == "decided by rank on all nodes"
    assert ready["sequences of b"] == "mover may read those of the tables"
    assert ready["privileges on public.users of b"] == "mover has all"
    assert ready["publication of b"] == "it does not exist, and mover owns the tables"
    assert ready["unique columns of public.users"] == "none beside the key"
    assert ready["key of public.users"] == "it has a key"
    assert ready["replica identity of public.users"] == "it suffices"
    assert ready["table public.users"] == "the same on all nodes"
    assert ready["rows"] == "the tables of the new nodes are empty"
    assert ready["sequences"] == "no two nodes can draw the same number"
    assert "foreign keys of public.users" not in ready


def test_tables_that_differ_are_described() -> None:
    own = table()
    [key] = own.columns
    mail = attrs.evolve(key, name="mail", type="text", type_oid=25)
    generated = attrs.evolve(mail, name="g", is_generated=True)

    def difference(model: TargetTable, other: TargetTable) -> str:
        nodes = node("a", tables={USERS: model}), node("b", tables={USERS: other})
        return found(*nodes)["table public.users"].found

    wider = table(columns=(key, mail))
    assert difference(wider, own) == "b: it lacks the column mail"
    assert difference(own, wider) == "b: only it has the column mail"
    changed = table(columns=(key, attrs.evolve(mail, type="varchar")))
    assert difference(wider, changed) == "b: mail is varchar, not text"
    other_key = table(columns=(key, mail), keys=(("mail",),))
    assert difference(wider, other_key) == "b: its key is (mail), not (id)"
    keyless = table(columns=(key, mail), keys=())
    assert difference(wider, keyless) == "b: its key is missing, not (id)"
    # A generated column is not sent.
    assert difference(own, table(columns=(key, generated))) == "the same on all nodes"
    missing = found(node("a"), node("b", tables={USERS: None}))["table public.users"]
    assert missing.found == "b lacks it"


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


def test_clocks_that_differ_and_foreign_keys_are_told() -> None:
    findings = found(node("a", with_foreign_keys=(USERS,)), node("b", skew=timedelta(seconds=3)))
    assert findings["clocks"].severity is Severity.WARNING
    assert findings["foreign keys of public.users"].severity is Severity.INFO


@pytest.mark.parametrize(
    ("state", "severity"),
    [
        ("streaming", Severity.OK),
        ("stopped", Severity.WARNING),
        ("copying", Severity.CRITICAL),
        ("missing", Severity.CRITICAL),
        ("unreachable", Severity.CRITICAL),
    ],
)
def test_a_node_leaves_while_the_others_get_its_changes(state: str, severity: Severity) -> None:
    [finding] = leave_findings([MeshStream(source="a", target="b", state=StreamState(state))])
    assert (finding.check, finding.severity) == ("stream to b", severity)


def removal(answers: bool, a: str, c: str, third: str = "c") -> dict[str, Finding]:
    stored = {"a": members("a", "b", "c"), "c": members("a", "b", third)}
    findings = remove_findings("b", answers, stored, {"a": LSN(a), "c": LSN(c)})
    return {finding.check: finding for finding in findings}


def test_a_lost_node_is_removed_and_the_check_says_who_has_its_changes() -> None:
    assert {one.severity for one in removal(False, "0/5", "0/5").values()} == {Severity.OK}
    behind = removal(False, "0/5", "0/4")["changes of b"]
    assert behind.severity is Severity.WARNING
    assert behind.found == "a has applied them up to 0/5, c has applied them up to 0/4"
    assert "update on a the rows" in behind.remedy
    alive = removal(True, "0/5", "0/5")["node b"]
    assert (alive.severity, alive.remedy) == (Severity.CRITICAL, "plan_leave('b')")
    interrupted = removal(False, "0/5", "0/5", third="d")["members"]
    assert interrupted.severity is Severity.CRITICAL


def test_columns_to_which_no_difference_can_be_added_are_refused() -> None:
    def of(*nodes: MeshNodeFacts, **deltas: tuple[str, ...]) -> Finding:
        named = {TableName("public", name): names for name, names in deltas.items()}
        [finding] = [
            finding
            for check, finding in found(*nodes, deltas=named).items()
            if check.startswith("delta columns of public.")
        ]
        return finding

    assert of(node("a"), node("b"), other=("n",)).found == (
        "it is no table of the mesh on a; it is no table of the mesh on b"
    )
    partial = of(node("a"), node("b", without_full=(USERS,)), users=("id",))
    assert partial.severity is Severity.CRITICAL
    assert "'id' is part of the key" in partial.found
    assert "its replica identity is not FULL on b" in partial.found
