"""The tables of a mesh: the same everywhere, and such that their rows converge."""

from __future__ import annotations

import attrs
from meshfacts import USERS, critical, found, node, table

from pgreplkit.catalog.logical.applytables import TargetTable
from pgreplkit.plans.mesh.facts import MeshNodeFacts
from pgreplkit.values.finding import Finding, Severity
from pgreplkit.values.tablename import TableName


def test_every_index_other_than_the_key_that_refuses_rows_is_named() -> None:
    held = table(keys=(("id",), ("mail",)), refusing=("users_lower_idx",))
    findings = found(node("a"), node("b", tables={USERS: held}))
    assert findings["unique columns of public.users"].found == "(mail), users_lower_idx on b"
    assert not critical(node("a"), node("b", tables={USERS: table(keys=(("id",), ("id",)))}))


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
    assert missing.found == "it is missing on b"


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
        "it is not a table of the mesh on a; it is not a table of the mesh on b"
    )
    partial = of(node("a"), node("b", without_full={USERS: ("public.users",)}), users=("id",))
    assert partial.severity is Severity.CRITICAL
    assert "'id' is part of the key" in partial.found
    assert "its replica identity is not FULL on b" in partial.found
