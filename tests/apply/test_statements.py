"""Matching tables, and the statements that apply changes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import attrs
from applyfacts import INT, JSON, TEXT, column, matched, source, target

from pgreplkit.apply import TableRule
from pgreplkit.apply.shape import Match
from pgreplkit.apply.statements import Statements, truncation


def names() -> Callable[[], bytes]:
    numbers = count(1)
    return lambda: b"s%d" % next(numbers)


def statements(one: Match) -> Statements:
    return Statements(one, names())


def test_values_in_their_order_are_passed_as_they_are() -> None:
    insert = statements(matched()).insert()
    assert insert.sql == 'INSERT INTO public.t ("id", "name", "n") VALUES ($1, $2, $3)'
    values: list[bytes | None] = [b"1", b"a", None]
    assert insert.bound(values, [0, 0, 0])[1] is values


def test_an_update_sets_what_is_not_the_key() -> None:
    update = statements(matched()).update(has_old=False)
    assert update.sql == ('UPDATE ONLY public.t AS t SET "name" = $2, "n" = $3 WHERE t."id" = $1')
    assert update.picks is None
    assert update.needs_row
    assert update.key == (("id", 0, "integer"),)


def test_rows_are_found_as_their_unique_index_compares_keys() -> None:
    key = attrs.evolve(
        column("id", not_null=True), equality="OPERATOR(ext.=)", collation="public.c"
    )
    own = target(key, column("name", TEXT), column("n"))
    place = 't."id" OPERATOR(ext.=) {} COLLATE public.c'
    sets = Statements(matched(own=own), names(), sets=True)
    for statement in (sets.update(has_old=False), sets.delete()):
        assert statement.sql.endswith("WHERE " + place.format("$1"))
        assert statement.several is not None
        assert place.format("v.c1") in statement.several(2).sql
    assert key.is_equal("OLD.id", "NEW.id") == "OLD.id OPERATOR(ext.=) NEW.id COLLATE public.c"


def test_a_set_of_rows_fails_unless_all_of_them_are_changed() -> None:
    sets = Statements(matched(), names(), sets=True)
    update, delete = sets.update(has_old=False), sets.delete()
    assert update.several is not None
    assert delete.several is not None
    two = update.several(2)
    assert two.sql == (
        'WITH changed AS (UPDATE ONLY public.t AS t SET "name" = v.c2, "n" = v.c3 FROM'
        " (VALUES ($1, $2, $3), ($4, $5, $6)) AS v (c1, c2, c3)"
        ' WHERE t."id" = v.c1 RETURNING 1) SELECT 1 / (count(*) = 2)::int FROM changed'
    )
    assert two.types == (INT, TEXT, INT) * 2
    assert not two.needs_row
    assert two is update.several(2)
    assert delete.several(2).sql == (
        "WITH changed AS (DELETE FROM ONLY public.t AS t USING (VALUES ($1), ($2)) AS v (c1)"
        ' WHERE t."id" = v.c1 RETURNING 1) SELECT 1 / (count(*) = 2)::int FROM changed'
    )
    assert delete.several(2).types == (INT, INT)


def test_rows_without_a_unique_key_or_with_a_new_one_are_changed_one_by_one() -> None:
    sets = Statements(matched(), names(), sets=True)
    assert sets.update(has_old=True).several is None
    assert sets.delete(needs_row=False).several is None
    assert statements(matched()).update(has_old=False).several is None
    keyless = matched(own=target(column("id"), column("name", TEXT), column("n"), keys=()))
    assert Statements(keyless, names(), sets=True).delete().several is None


def test_an_update_of_the_key_finds_the_old_row() -> None:
    update = statements(matched()).update(has_old=True)
    assert update.sql == (
        'UPDATE ONLY public.t AS t SET "id" = $2, "name" = $3, "n" = $4 WHERE t."id" = $1'
    )
    # The old key, and the new row behind the three old values.
    assert update.picks == (0, 3, 4, 5)


def test_an_unsent_value_is_left_out() -> None:
    update = statements(matched()).update(frozenset({1}), has_old=False)
    assert update.sql == 'UPDATE ONLY public.t AS t SET "n" = $2 WHERE t."id" = $1'
    assert update.picks == (0, 2)
    nothing = statements(matched()).update(frozenset({1, 2}), has_old=False)
    assert nothing.sql == 'UPDATE ONLY public.t AS t SET "id" = t."id" WHERE t."id" = $1'


def test_a_delete_takes_the_key_only() -> None:
    delete = statements(matched()).delete()
    assert delete.sql == 'DELETE FROM ONLY public.t AS t WHERE t."id" = $1'
    assert delete.picks == (0,)


def test_columns_are_renamed_dropped_and_added() -> None:
    rule = TableRule(
        columns={"name": "Full Name", "n": None}, constants={"node": "paris"}, to="crm.people"
    )
    own = target(
        column("node", TEXT, not_null=True),
        column("id", not_null=True),
        column("Full Name", TEXT),
        keys=(("node", "id"),),
        name="people",
    )
    one = statements(matched(own=own, rule=rule))
    assert one.insert().sql == (
        'INSERT INTO public.people ("id", "Full Name", "node") VALUES ($1, $2, $3)'
    )
    assert one.insert().picks == (0, 1, 3)
    # The constant is part of the key: another source may have the same number.
    assert one.delete().sql == (
        'DELETE FROM ONLY public.people AS t WHERE t."id" = $1 AND t."node" = $2'
    )
    assert one.delete_source().sql == (
        'DELETE FROM ONLY public.people AS t WHERE t."node" IS NOT DISTINCT FROM $1'
    )


def test_an_identity_column_takes_the_publishers_value() -> None:
    own = target(column("id", not_null=True, identity="a"), column("name", TEXT), column("n"))
    one = statements(matched(own=own))
    assert "OVERRIDING SYSTEM VALUE" in one.insert().sql
    assert '"id" =' not in one.update(has_old=True).sql.split("WHERE")[0]


def test_a_generated_column_is_computed_by_the_subscriber() -> None:
    own = target(column("id", not_null=True), column("name", TEXT), column("n", is_generated=True))
    assert statements(matched(own=own)).insert().picks == (0, 1)


def test_without_a_key_one_of_the_alike_rows_is_meant() -> None:
    table = source(("a", INT, True), ("b", JSON, True), identity="f")
    own = target(column("a"), column("b", JSON), keys=())
    assert statements(matched(table, own)).delete().sql == (
        "DELETE FROM ONLY public.t AS t WHERE t.ctid = (SELECT ctid FROM ONLY public.t AS t WHERE"
        ' t."a" IS NOT DISTINCT FROM $1 AND t."b"::text IS NOT DISTINCT FROM ($2::json)::text'
        " LIMIT 1)"
    )


def test_with_whole_old_rows_any_key_of_the_subscriber_will_do() -> None:
    table = source(("id", INT, True), ("name", TEXT, True), identity="f")
    own = target(column("id"), column("name", TEXT), keys=(("name",),))
    assert statements(matched(table, own)).delete().sql.endswith('WHERE t."name" = $1')


def test_an_upsert_needs_a_unique_key() -> None:
    upsert = statements(matched()).upsert()
    assert upsert is not None
    assert upsert.sql.endswith(
        'ON CONFLICT ("id") DO UPDATE SET "name" = EXCLUDED."name", "n" = EXCLUDED."n"'
    )
    loose = target(column("id"), column("name", TEXT), column("n"), keys=())
    assert statements(matched(own=loose)).upsert() is None


def test_partitions_are_reached_through_their_root() -> None:
    own = target(column("id"), column("name", TEXT), column("n"), is_partitioned=True)
    one = matched(own=own)
    assert statements(one).delete().sql.startswith("DELETE FROM public.t AS t")
    assert truncation([one], b"x", restarts=True).sql == "TRUNCATE public.t RESTART IDENTITY"


def test_rows_without_any_value_that_is_written_are_found() -> None:
    table = source(("n", INT, False), identity="f")
    for own, assigned in (
        (target(column("n", is_generated=True), keys=()), '"n" = DEFAULT'),
        (target(column("n", identity="a"), keys=()), '"n" = t."n"'),
    ):
        made = statements(matched(table, own)).update(has_old=True)
        assert made.sql.startswith(f"UPDATE ONLY public.t AS t SET {assigned} WHERE t.ctid = ")
    bare = matched(source(identity="f"), target(column("n"), keys=()))
    assert "WHERE true LIMIT 1" in statements(bare).delete().sql
