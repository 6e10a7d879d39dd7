"""Meshes: names, steps, findings, sequences, and the rows that differ."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import attrs
import pytest
from serverfacts import settings

from pgreplkit.apply import LastUpdateWins
from pgreplkit.catalog.logical.applytables import TargetColumn, TargetTable
from pgreplkit.errors import ServerError
from pgreplkit.mesh import Mesh, MeshSetup
from pgreplkit.plans.cluster.journal import Journal
from pgreplkit.plans.logical.applyreadiness import ApplyRights
from pgreplkit.plans.mesh.layout import (
    Members,
    MemberState,
    applier_name,
    new_members,
    table_choice,
)
from pgreplkit.plans.mesh.operations import (
    clean_steps,
    create_steps,
    join_steps,
    leave_steps,
    remove_steps,
)
from pgreplkit.plans.mesh.readiness import (
    MeshFacts,
    MeshNodeFacts,
    leave_findings,
    mesh_findings,
    remove_findings,
)
from pgreplkit.plans.mesh.sequences import collisions, spread
from pgreplkit.plans.mesh.status import (
    MeshComparison,
    MeshDifference,
    MeshStream,
    MeshVerdict,
    StreamState,
)
from pgreplkit.plans.mesh.steps import (
    CopyRows,
    DropLost,
    DropStreams,
    ForgetMesh,
    MakeStreams,
    PrepareNode,
    SetMembers,
    WaitForDonor,
)
from pgreplkit.rows import SequenceState
from pgreplkit.values.finding import Finding, Severity
from pgreplkit.values.lsn import LSN
from pgreplkit.values.tablename import TableName

USERS = TableName("public", "users")


def members(*nodes: str) -> Members:
    return new_members(nodes, [18] * len(nodes), MemberState.ACTIVE)


# Names


def test_a_mesh_refuses_names_that_would_make_two_streams_alike_or_too_long() -> None:
    for nodes, error in (
        ({"a_b": "", "c": ""}, "letters a-z and digits"),
        ({"Berlin": "", "paris": ""}, "letters a-z and digits"),
        ({"a" * 30: "", "b" * 30: ""}, "at most 50"),
        ({"berlin": ""}, "at least two nodes"),
    ):
        with pytest.raises(ValueError, match=error):
            Mesh(nodes, tables=["users"])
    with pytest.raises(ValueError, match="mesh has letters"):
        Mesh({"a": "", "b": ""}, tables=["users"], name="My mesh")
    with pytest.raises(TypeError, match="tables takes several"):
        Mesh({"a": "", "b": ""}, tables="users")
    assert applier_name("shop", "paris", "berlin") == "shop_paris_berlin"


def test_tables_are_named_or_those_of_a_schema() -> None:
    existing = [TableName("shop", "a"), TableName("shop", "b"), TableName("other", "c")]
    assert table_choice(["shop.*", "other.d"]).resolve(existing) == (
        TableName("other", "d"),
        TableName("shop", "a"),
        TableName("shop", "b"),
    )


def test_a_node_that_comes_back_keeps_its_rank_and_a_new_one_gets_the_next() -> None:
    left = members("berlin", "paris").changed("paris", MemberState.LEFT)
    assert left.active == ("berlin",)
    assert left.changed("rome", MemberState.JOINING).ranks["rome"] == 3
    assert left.changed("paris", MemberState.ACTIVE).ranks["paris"] == 2
    assert left.origins("shop", "berlin") == {"pgreplkit_shop_paris_berlin": "paris"}


def test_ties_are_decided_by_rows_where_a_server_stores_no_origins() -> None:
    assert new_members(["a", "b"], [18, 13], MemberState.ACTIVE).ties == "row"
    assert new_members(["a", "b"], [18, 14], MemberState.ACTIVE).ties == "rank"


# Steps


def test_all_streams_but_those_of_the_first_node_exist_before_its_rows_are_copied() -> None:
    joining = new_members(["a", "b", "c"], [18] * 3, MemberState.JOINING)
    steps = create_steps("shop", joining, "b", ["public.users"])
    kinds = [type(step) for step in steps]
    prepared = [*3 * [PrepareNode], *3 * [SetMembers], *3 * [MakeStreams]]
    assert kinds == [*prepared, *2 * [CopyRows], *3 * [SetMembers]]
    made = {(s, step.node) for step in steps if isinstance(step, MakeStreams) for s in step.sources}
    copied = {(step.donor, step.node) for step in steps if isinstance(step, CopyRows)}
    assert made | copied == {(x, y) for x in "abc" for y in "abc" if x != y}
    assert not made & copied
    assert all(step.undo for step in steps)
    ready = {step.node: step.is_ready for step in steps if isinstance(step, MakeStreams)}
    assert ready == {"a": False, "b": True, "c": False}


def test_a_node_joins_after_the_donor_has_what_the_new_streams_leave_out() -> None:
    steps = join_steps("shop", members("a", "b", "c"), "d", "a", ["public.users"])
    kinds = [type(step) for step in steps]
    [streams] = [s for s in steps if isinstance(s, MakeStreams) and s.node == "d"]
    assert streams.sources == ("b", "c")
    assert not streams.is_ready
    assert not streams.is_ready
    assert all(s.is_ready for s in steps if isinstance(s, MakeStreams) and s.node != "d")
    # It knows itself, and all others know it, before any stream to or from it exists.
    stored = [step.node for step in steps[: kinds.index(MakeStreams)][1:]]
    assert stored == ["d", "a", "b", "c"]
    order = [kinds.index(WaitForDonor), kinds.index(CopyRows)]
    assert [steps.index(streams), *order] == sorted([steps.index(streams), *order])
    # No one streams from the new node before all know it, and it is active last.
    last = [step for step in steps[order[1] :] if isinstance(step, SetMembers)]
    assert [step.node for step in last] == ["a", "b", "c", "d"]
    assert all("d:4:active" in step.members for step in last)
    assert all(step.undo for step in steps if not isinstance(step, WaitForDonor))


def test_a_node_leaves_after_the_others_have_its_changes_and_keeps_its_rank() -> None:
    steps = leave_steps("shop", members("a", "b", "c"), "b")
    assert [str(step) for step in steps[:2]] == [
        "b: refuse writes to the tables of the mesh",
        "b: wait until a, c have applied what it committed",
    ]
    assert isinstance(steps[2], SetMembers)
    assert steps[2].members == ("a:1:active", "b:2:left", "c:3:active")
    dropped = [(step.node, step.sources) for step in steps if isinstance(step, DropStreams)]
    assert dropped == [("a", ("b",)), ("c", ("b",)), ("b", ("a", "c"))]
    assert all(step.is_final for step in steps if isinstance(step, DropStreams))


def test_the_others_forget_a_lost_node_without_asking_it() -> None:
    steps = remove_steps("shop", members("a", "b", "c"), "b")
    assert [step.node for step in steps] == ["a", "c", "a", "c"]
    assert all("b:2:left" in step.members for step in steps if isinstance(step, SetMembers))
    assert [str(step) for step in steps[2:]] == [
        "a: drop the streams from and to b",
        "c: drop the streams from and to b",
    ]
    assert isinstance(steps[2], DropLost)
    assert steps[2].is_final
    assert steps[2].action == "SELECT pg_drop_replication_slot('pgreplkit_shop_a_b')"
    # Its own objects are removed when it is back.
    left = members("a", "b", "c").changed("b", MemberState.LEFT)
    assert [(type(step), step.node) for step in clean_steps("shop", left, "b")] == [
        (DropStreams, "a"),
        (DropStreams, "c"),
        (DropStreams, "b"),
        (ForgetMesh, "b"),
    ]


def test_the_steps_of_a_mesh_are_read_back_from_a_journal() -> None:
    for steps in (
        create_steps("shop", members("a", "b"), "a", ["public.users"]),
        join_steps("shop", members("a", "b"), "c", "a", ["public.users"]),
        leave_steps("shop", members("a", "b", "c"), "b"),
        remove_steps("shop", members("a", "b", "c"), "b"),
    ):
        journal = Journal(operation="test", steps=steps)
        assert Journal.from_json(journal.to_json()) == journal
        assert str(journal)


# Findings


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


def test_setup_statements_are_printed_by_node() -> None:
    assert str(MeshSetup(nodes={"a": ("GRANT x",), "b": ()})) == "-- on a\nGRANT x;\n-- on b"


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


# Sequences


def sequence(next_value: int = 1, *, increment: int = 1, maximum: int = 2**31 - 1) -> SequenceState:
    return SequenceState(
        name=TableName("public", "users_id_seq"),
        data_type="integer",
        start=1,
        minimum=1,
        maximum=maximum,
        increment=increment,
        cycle=False,
        cache=1,
        owner="public.users.id",
        is_identity=False,
        last_value=next_value,
        is_called=False,
    )


def test_sequences_collide_unless_they_are_spread_or_have_other_ranges() -> None:
    assert collisions({"a": [sequence()], "b": [sequence(5000)]})
    assert collisions({"a": [sequence(1, increment=2)], "b": [sequence(3, increment=2)]})
    assert not collisions({"a": [sequence(1, increment=2)], "b": [sequence(2, increment=2)]})
    low, high = sequence(maximum=9), attrs.evolve(sequence(10), minimum=10)
    assert not collisions({"a": [low], "b": [high]})


@pytest.mark.parametrize("nodes", [2, 3, 7])
def test_spread_sequences_never_meet_and_start_above_all_numbers_drawn(nodes: int) -> None:
    names = [f"n{place}" for place in range(nodes)]
    states = {name: [sequence(100 * place + 1)] for place, name in enumerate(names)}
    drawn = {
        change.node: {change.restart + change.increment * k for k in range(100)}
        for change in spread(states)
    }
    everything = [number for numbers in drawn.values() for number in numbers]
    assert len({*everything}) == len(everything)
    assert min(everything) > 100 * (nodes - 1) + 1


def test_spread_numbers_are_multiples_of_the_nodes_apart() -> None:
    drawn = attrs.evolve(sequence(10), is_called=True)
    changes = spread({"a": [sequence(7)], "b": [drawn]})
    # 10 was drawn, and 1000 more may be until then.
    assert [(one.node, one.increment, one.restart) for one in changes] == [
        ("a", 2, 1013),
        ("b", 2, 1014),
    ]
    assert changes[0].sql == "ALTER SEQUENCE public.users_id_seq INCREMENT BY 2 RESTART WITH 1013"
    assert len(spread({"a": [sequence(maximum=4)], "b": [sequence(maximum=4)]})) == 2
    with pytest.raises(ServerError, match="on b would be 4, and its maximum is 3"):
        spread({"a": [sequence(maximum=4)], "b": [sequence(maximum=3)]})


def test_a_sequence_without_numbers_left_is_not_spread() -> None:
    with pytest.raises(ServerError, match="larger type"):
        spread({"a": [sequence(30_000, maximum=30_001)], "b": [sequence(maximum=30_001)]})
    with pytest.raises(ServerError, match="counts down"):
        spread({"a": [sequence(increment=-1)], "b": [sequence()]})


# Comparison


def test_a_comparison_is_equal_if_everything_was_seen_to_be() -> None:
    difference = MeshDifference(table=USERS, key={"id": "1"}, rows={"a": {"id": "1"}, "b": None})
    equal = MeshComparison(nodes=("a", "b"), tables=(USERS,), rows=3, differences=())
    assert equal.is_equal
    assert str(equal) == "3 rows of 1 tables on a, b: 0 differ"
    assert not attrs.evolve(equal, undecided=("id=1",)).is_equal
    assert "1 changed at each look: id=1" in str(attrs.evolve(equal, undecided=("id=1",)))
    unequal = attrs.evolve(equal, differences=(difference,))
    assert not unequal.is_equal
    assert "public.users: id=1" in str(unequal)
    assert str(difference).splitlines() == [
        "public.users: id=1",
        "  a: {'id': '1'}",
        "  b: no row",
    ]


def test_a_row_differs_only_if_no_node_wrote_it_between_two_looks() -> None:
    key = ("1",)
    verdict = MeshVerdict()
    verdict.add([{key: ("x", "10")}, {key: ("y", "20")}])
    assert verdict.doubtful == [key]
    verdict.add([{key: ("z", "11")}, {key: ("y", "20")}])
    assert verdict.doubtful == [key]
    assert not verdict.differing
    verdict.add([{key: ("z", "11")}, {key: ("y", "20")}])
    assert verdict.differing == [key]
    assert not verdict.doubtful


def test_rows_that_become_equal_do_not_differ() -> None:
    verdict = MeshVerdict()
    verdict.add([{("1",): ("x", "1")}, {}])
    verdict.add([{("1",): ("x", "1")}, {("1",): ("x", "1")}])
    assert not verdict.doubtful
    assert not verdict.differing


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
