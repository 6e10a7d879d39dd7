"""Tables whose rows could differ, or collide, in ways that only the catalogs show."""

from __future__ import annotations

import pytest
from databases import Database
from meshdatabases import mesh_of
from psycopg.conninfo import make_conninfo

from pgreplkit.errors import PlanRefused
from pgreplkit.mesh import Mesh
from pgreplkit.rows import Severity

pytestmark = [pytest.mark.pg(">=10"), pytest.mark.one_colour, pytest.mark.matrix]


def test_tables_that_inherit_are_in_the_mesh_with_their_parent(three: dict[str, Database]) -> None:
    for name in ("a", "b"):
        three[name].run(
            'CREATE TABLE "Child" (PRIMARY KEY (id)) INHERITS (t)',
            'CREATE TABLE grandchild (PRIMARY KEY (id)) INHERITS ("Child")',
            'ALTER TABLE "Child" REPLICA IDENTITY FULL',
            "ALTER TABLE grandchild REPLICA IDENTITY FULL",
        )
    three["a"].run("INSERT INTO t VALUES (1, 1)", 'INSERT INTO "Child" VALUES (2, 2)')
    plan = mesh_of(three, "a", "b").plan_create()
    finding = plan.check()["inheritance of public.t"]
    assert finding.found == 'public."Child", public.grandchild inherits from it on a, b'
    with pytest.raises(PlanRefused, match="inheritance"):
        plan.run()
    nodes = {name: three[name].conninfo for name in ("a", "b")}
    mesh = Mesh(nodes, tables=["public.*"])
    mesh.plan_create().run()
    with mesh.running():
        three["b"].run("INSERT INTO grandchild VALUES (3, 3)", "UPDATE t SET n = 9 WHERE id = 2")
        mesh.wait_for_sync()
        assert mesh.compare().is_equal
    rows = "SELECT tableoid::regclass::text, id, n FROM t ORDER BY id"
    assert three["a"].all(rows) == [("t", 1, 1), ('"Child"', 2, 9), ("grandchild", 3, 3)]


def test_sequences_that_defaults_draw_from_are_spread(three: dict[str, Database]) -> None:
    nodes = {name: three[name] for name in ("a", "b")}
    for database in nodes.values():
        database.run(
            "CREATE SEQUENCE shared",
            "CREATE SEQUENCE other",
            "CREATE TABLE drawn (id int PRIMARY KEY DEFAULT nextval('shared'),"
            " code text DEFAULT 'x' || nextval('shared'))",
            "ALTER TABLE drawn REPLICA IDENTITY FULL",
        )
    mesh = mesh_of(nodes, "a", "b", table="drawn")
    finding = mesh.plan_create().check()["sequences"]
    assert (finding.severity, finding.found) == (Severity.CRITICAL, "public.shared of a, b")
    assert [one.node for one in mesh.spread_sequences()] == ["a", "b"]
    mesh.plan_create().run()
    with mesh.running():
        for database in nodes.values():
            database.run(*["INSERT INTO drawn DEFAULT VALUES"] * 3)
        mesh.wait_for_sync()
    assert nodes["a"].one("SELECT count(*) FROM drawn") == 6


@pytest.mark.parametrize("state", ["ALWAYS", "REPLICA"])
def test_a_trigger_that_fires_for_the_changes_of_other_nodes_is_a_warning(
    three: dict[str, Database], state: str
) -> None:
    three["b"].run(
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$",
        *(
            f"CREATE TRIGGER {name} BEFORE UPDATE ON t FOR EACH ROW EXECUTE PROCEDURE f()"
            for name in ("one", "two")
        ),
        f"ALTER TABLE t ENABLE {state} TRIGGER two",
    )
    finding = mesh_of(three, "a", "b").plan_create().check()["triggers of public.t"]
    assert finding.severity is Severity.WARNING
    assert finding.found == "two fires for the changes of other nodes, too, on b"
    three["b"].run(finding.remedy, "DROP FUNCTION f() CASCADE")


@pytest.mark.parametrize(
    ("rule", "states"),
    [
        ("UPDATE TO t DO ALSO", ("ENABLE", "DISABLE", "ENABLE ALWAYS")),
        ("INSERT TO t DO ALSO", ("ENABLE REPLICA",)),
        ("DELETE TO t DO INSTEAD", ("ENABLE ALWAYS",)),
    ],
)
def test_a_rule_with_which_no_change_could_be_applied_is_refused(
    three: dict[str, Database], rule: str, states: tuple[str, ...]
) -> None:
    plan = mesh_of(three, "a", "b").plan_create()
    three["b"].run(f'CREATE RULE "It" AS ON {rule} NOTHING')
    for state in states:
        three["b"].run(f'ALTER TABLE t {state} RULE "It"')
        finding = plan.check()["rules of public.t"]
        assert (finding.severity, finding.found) == (Severity.CRITICAL, "It on b")
    three["b"].run(finding.remedy, "CREATE RULE fine AS ON INSERT TO t DO ALSO NOTHING")
    assert not plan.check().problems
    plan.run()
    mesh = mesh_of(three, "a", "b")
    with mesh.running():
        three["a"].run("INSERT INTO t VALUES (1, 1), (2, 2)", "UPDATE t SET n = 3 WHERE id = 2")
        mesh.wait_for_sync()
    assert three["b"].all("SELECT * FROM t ORDER BY id") == [(1, 1), (2, 3)]


def test_a_server_that_quotes_all_names_has_the_same_tables(three: dict[str, Database]) -> None:
    nodes = {name: three[name].conninfo for name in ("a", "b")}
    nodes["b"] = make_conninfo(nodes["b"], options="-c quote_all_identifiers=on")
    mesh = Mesh(nodes, tables=["t"])
    assert not mesh.plan_create().check().problems
    mesh.plan_create().run()
    with mesh.running():
        three["a"].run("INSERT INTO t VALUES (1, 1)")
        mesh.wait_for_sync()
        assert mesh.compare().is_equal
    mesh.plan_forget("b").run(force=True)
