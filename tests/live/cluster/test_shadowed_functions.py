"""Functions and operators that an ordinary role adds to PostgreSQL's own are not executed."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import psycopg
import pytest
from colours import Colour, execute, inner
from databases import Pair
from upgrading import differences, opened, prepare

import pgreplkit.catalog

pytestmark = [pytest.mark.one_colour, pytest.mark.matrix]

OTHER_TYPES = {
    "name": ["text"],
    "text": ["name"],
    "regclass": ["oid"],
    "oid": ["regclass"],
    "bigint": ["integer"],
    "numeric": ["integer"],
    "anyelement": ["name", "oid", "pg_replication_slots", "pg_attribute"],
    "anyarray": ["text[]", "smallint[]", "oid[]"],
    '"any"': ["text", "name"],
}
"""Types whose values, or whose literals, PostgreSQL also accepts for an argument of the type."""


OPERANDS = ["text", "name", "oid", "regclass", "regnamespace", "integer", "numeric", "jsonb"]


MADE = """
    SELECT proname, array_agg(format_type(type, NULL) ORDER BY place) AS types
    FROM pg_proc, unnest(proargtypes) WITH ORDINALITY AS _ (type, place)
    WHERE pronamespace = 'pg_catalog'::regnamespace AND proname = ANY (%s)
    GROUP BY pg_proc.oid, proname
"""


SHADOWS = """
    SELECT oid::bigint, oid::regprocedure::text FROM pg_proc
    WHERE pronamespace = 'shadows'::regnamespace
"""


FUNCTION = """CREATE FUNCTION shadows.{}({}) RETURNS {} LANGUAGE plpgsql
    AS 'BEGIN RAISE ''executed''; END'"""


CREATE = "DO $do$ BEGIN EXECUTE $x${}$x$; EXCEPTION WHEN duplicate_function THEN NULL; END $do$"


def shadow(conninfo: str) -> dict[int, str]:
    """Create functions and operators that fit the library's calls as well as PostgreSQL's own."""
    [folder] = pgreplkit.catalog.__path__
    texts = [file.read_text() for file in Path(folder).rglob("*.py")]
    called = sorted({name for text in texts for name in re.findall(r"\b([a-z_0-9]+)\(", text)})
    with psycopg.connect(conninfo, autocommit=True) as connection:
        # This session needs PostgreSQL's own.
        connection.execute("SET search_path = ''; CREATE SCHEMA shadows")
        made = connection.execute(MADE.encode(), [called]).fetchall()
        own = {(name, tuple(types)) for name, types in made}
        others = {
            (name, tuple(signature))
            for name, types in made
            for signature in product(*([one, *OTHER_TYPES.get(one, [])] for one in types[:3]))
            if not any("any" in one or one == "internal" for one in signature)
        }
        statements = [
            FUNCTION.format(f'"{name}"', ", ".join(signature), "text")
            for name, signature in sorted(others - own)
        ]
        for place, operator in enumerate(["=", "<>", "~", "!~", "~~", "!~~", "||", "->>", "*"]):
            function = f"shadows.operator_{place}"
            result = "text" if operator in ("||", "->>", "*") else "boolean"
            for left, right in product(OPERANDS, OPERANDS):
                if {left, right} == {"name", "text"} and connection.info.server_version < 120000:
                    continue  # There these comparisons need a cast, wherever a name is compared.
                statements += [
                    FUNCTION.format(f"operator_{place}", f"{left}, {right}", result),
                    f"CREATE OPERATOR shadows.{operator} (leftarg = {left}, rightarg = {right},"
                    f" procedure = {function})",
                ]
        for statement in statements:
            connection.execute(CREATE.format(statement).encode())
        return dict(connection.execute(SHADOWS.encode()).fetchall())


@pytest.mark.pg(">=10")
async def test_functions_of_others_in_the_search_path_are_not_called(
    sides: Pair, colour: Colour, tmp_path: Path
) -> None:
    called: set[int] = set()

    def parsed(message: psycopg.errors.Diagnostic) -> None:
        tree = message.message_detail or ""
        for oid in re.findall(r":(?:funcid|opfuncid|aggfnoid|winfnoid) (\d+)", tree):
            called.add(int(oid))

    async with opened(sides, colour, tmp_path) as upgrade:
        await prepare(upgrade, sides)
        sides.publisher.run("CREATE TABLE late (id int PRIMARY KEY)")
        shadows = shadow(sides.publisher.conninfo) | shadow(sides.subscriber.conninfo)
        servers = [inner(upgrade)._old, inner(upgrade)._new]  # type: ignore[attr-defined]
        for server in servers:
            server.connection.add_notice_handler(parsed)
            # The tree names the functions, also where a statement finds no row.
            await execute(server.connection, "SET search_path = public, shadows")
            await execute(server.connection, "SET debug_pretty_print = off")
            await execute(server.connection, "SET debug_print_parse = on")
            await execute(server.connection, "SET client_min_messages = log")
        old, new = (colour.bound(server) for server in servers)
        fence = await old.fence_writes(["late"], name="late")
        await fence.unfenced()
        await old.fence_writes(["late"], name="late")
        await old.write_fences()
        await fence.lift()
        slot = await old.create_logical_slot("shadowed")
        await slot.refresh()
        await slot.drop()
        for server in (old, new):
            for read in (
                *(server.slots, server.replicas, server.publications, server.subscriptions),
                *(server.settings, server.identity, server.wal_retention, server.find_writers),
                *(server.check_readiness, server.replication_roles, server.checkpoint_status),
                server.wal_files,
            ):
                await read()
        for subscription in await new.subscriptions():
            await subscription.status()
        await new.check_subscriber_readiness(inner(old))
        await upgrade.check()
        await upgrade.status()
        await (await upgrade.plan_cutover()).check()
        await (await upgrade.plan_finish()).check()
        await differences(upgrade)
        assert called
        assert {shadows[oid] for oid in called & shadows.keys()} == set()
