"""A new server that is an upgraded physical copy of the old one."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from clusters import Cluster as Pair, Clusters, one, run, wait_until
from colours import Colour, inner
from psycopg.conninfo import make_conninfo

from pgreplkit import Primary
from pgreplkit.catalog.server.access import HBA_RULES
from pgreplkit.errors import ConnectionFailed, PlanFailed, PlanRefused, ServerError
from pgreplkit.host.programs import servers_in
from pgreplkit.lab import Lab, Node
from pgreplkit.lab.installs import Installation
from pgreplkit.lab.node import reserved_port
from pgreplkit.rows import Severity, StepProgress
from pgreplkit.upgrade import AsyncUpgradeClone, Upgrade, UpgradeClone, UpgradePhase

pytestmark = [pytest.mark.one_colour, pytest.mark.matrix, pytest.mark.pg("==16")]

LEFT = """SELECT slot_name::text FROM pg_replication_slots
    UNION ALL SELECT pubname::text FROM pg_publication"""

MEASURED = (
    *(
        f"CREATE TABLE {name} (id int PRIMARY KEY, v text); INSERT INTO {name} VALUES (1, 'a');"
        f" ANALYZE {name}"
        for name in ("kept", "counted", "expressed")
    ),
    "CREATE STATISTICS both_columns ON id, v FROM counted",
    "CREATE INDEX ON expressed (lower(v))",
    # As in most databases: autovacuum analyzes only partitions.
    "CREATE TABLE parted (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);"
    " CREATE TABLE part PARTITION OF parted DEFAULT; INSERT INTO parted VALUES (1, 'a');"
    " ANALYZE part",
)
ANALYZED = """SELECT string_agg(relname, ', ' ORDER BY relname) FROM pg_stat_user_tables
    WHERE last_analyze IS NOT NULL"""
KEPT = "SELECT count(*) FROM pg_stats WHERE tablename = 'kept'"


def complete(lab: Lab, major: int) -> Installation:
    """Return an installation with pg_upgrade, which the lab's account can run."""
    return lab._runnable(
        next(
            one
            for one in lab.servers
            if one.version.major == major and (one.bindir / "pg_upgrade").exists()
        )
    )


def commit_at_the_slot(node: Node) -> None:
    """Create the slot of the first group at the start of a commit record."""
    with (
        psycopg.connect(node.conninfo) as writer,
        psycopg.connect(node.conninfo, autocommit=True) as other,
    ):
        # After the backup, so that the copy replays it.
        for statement in (
            "BEGIN",
            "INSERT INTO notes VALUES ('prepared')",
            "PREPARE TRANSACTION 'one'",
            "COMMIT PREPARED 'one'",
        ):
            other.execute(statement)
        other.execute("SELECT pg_create_logical_replication_slot('shop_1', 'pgoutput')")
        # Open at the slot's position: the slot sends it when it is committed.
        for statement in (
            "BEGIN",
            "INSERT INTO notes VALUES ('two')",
            "PREPARE TRANSACTION 'two'",
        ):
            other.execute(statement)
        writer.execute("INSERT INTO notes VALUES ('at the slot')")
        # The commit record will begin here.
        position = other.execute("SELECT pg_current_wal_insert_lsn()").fetchone()
        writer.commit()
        other.execute("SELECT pg_replication_slot_advance('shop_1', %s::pg_lsn)", position)


async def test_a_clone_has_each_row_once_and_its_undo_leaves_nothing(
    clusters: Clusters, major: int, colour: Colour, tmp_path: Path
) -> None:
    lab = clusters.lab
    settings = {"wal_level": "logical", "autovacuum": "off", "max_prepared_transactions": "2"}
    old = lab.primary(version=major, settings=settings)
    empty = lab.root / f"{old.name}.empty"
    async with await colour.primary(old.conninfo) as primary:
        kind = UpgradeClone if colour.name == "sync" else AsyncUpgradeClone

        def clone_to(conninfo: str) -> AsyncUpgradeClone:
            programs = complete(lab, 18).bindir
            clone: AsyncUpgradeClone = colour.bound(
                kind(
                    inner(primary),  # type: ignore[arg-type]
                    conninfo,
                    name="shop",
                    directory=empty,
                    bindir=programs,
                    old_bindir=programs,
                )
            )
            return clone

        with pytest.raises(ConnectionFailed, match=r"use new: .* is malformed") as malformed:
            clone_to("host=db2 secret")
        assert "secret" not in str(malformed.value)
        with pytest.raises(PlanRefused, match="tables: 0 tables to copy"):
            await (await clone_to(old.conninfo).plan_prepare()).run()
    # Without a key, so that a row that comes twice is not an error.
    run(old, "CREATE TABLE notes (v text)")
    run(old, "ALTER TABLE notes REPLICA IDENTITY FULL")
    run(old, "INSERT INTO notes VALUES ('before')")
    hba = old.data_directory / "pg_hba.conf"
    hba.with_name("more.conf").write_text("host all included samehost reject\n")
    hba.write_text(f"include more.conf\n{hba.read_text()}")
    new, port = complete(lab, 18), str(reserved_port(lab))
    there = make_conninfo(old.conninfo, port=port)
    folder = lab.root / f"{old.name}.new"

    def watch(progress: StepProgress) -> None:
        if type(progress.step).__name__ == "MakeForwardSlots" and progress.elapsed is None:
            commit_at_the_slot(old)

    async with await colour.primary(old.conninfo) as primary:
        clone = colour.bound(
            (UpgradeClone if colour.name == "sync" else AsyncUpgradeClone)(
                inner(primary),  # type: ignore[arg-type]
                there,
                name="shop",
                directory=folder,
                bindir=new.bindir,
                old_bindir=complete(lab, major).bindir,
                settings={"port": port, "unix_socket_directories": ""},
                journal=tmp_path / "journal.json",
            )
        )
        run(old, "CREATE TABLE docs (id int PRIMARY KEY, doc xml)")
        # Of an extension whose package the new version lacks, and of one that it has.
        for function, library in (("gone", "postgis-3"), ("handler", "plpgsql")):
            run(
                old,
                f"CREATE FUNCTION {function}() RETURNS language_handler LANGUAGE c"
                " AS '$libdir/plpgsql', 'plpgsql_call_handler'",
            )
            changed = f"UPDATE pg_proc SET probin = '$libdir/{library}'"
            run(old, f"{changed} WHERE proname = '{function}'")
        # The type exists in builds without libxml, too, and its values can be neither sent nor
        # received.
        refused = r"(?s)XML columns: public\.docs.*libraries: \$libdir/postgis-3;"
        with pytest.raises(PlanRefused, match=refused):
            await (await clone.plan_prepare()).run()
        run(old, "DROP TABLE docs")
        for statement in MEASURED:
            run(old, statement)
        run(old, "DROP FUNCTION gone()")
        await (await clone.plan_prepare()).run(watch)
        (tmp_path / "journal.json").rename(tmp_path / "kept.json")
        second = await clone.plan_prepare()
        refused = r"(?s)directory .*address: another server answers.*leftovers: slot shop_1"
        with pytest.raises(PlanRefused, match=refused):
            await second.run()
        (tmp_path / "kept.json").rename(tmp_path / "journal.json")
        run(old, "COMMIT PREPARED 'two'")
        run(old, "INSERT INTO notes VALUES ('after')")
        with psycopg.connect(there, autocommit=True) as connection:
            everything = "SELECT string_agg(v, ',' ORDER BY v) FROM notes"
            wanted = ("after,at the slot,before,prepared,two",)
            wait_until(lambda: "after" in str(connection.execute(everything).fetchone()))
            assert connection.execute(everything).fetchone() == wanted
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                connection.execute("INSERT INTO notes VALUES ('by a client')")
            # Only those that pg_upgrade could not take along.
            assert connection.execute(ANALYZED).fetchall() == [
                ("counted, expressed, notes, parted",)
            ]
            assert connection.execute(KEPT).fetchone() == (2,)
        with Primary.connect(old.conninfo) as here, Primary.connect(there) as upgraded:
            status = Upgrade(here, upgraded, name="shop").status()
            assert (upgraded.version.major, status.phase) == (18, UpgradePhase.PREPARED)
            rules = HBA_RULES.sql(18)
            first = upgraded.connection.execute(rules.encode()).fetchone()
            assert "included" in str(first)
            # As if it was interrupted before the last step.
            kept = one(old, "SELECT obj_description(oid) FROM pg_publication")
            run(old, "COMMENT ON PUBLICATION shop_1 IS NULL")
            with pytest.raises(ValueError, match="by a preparation by clone"):
                Upgrade(here, upgraded, name="shop").plan_resume()
            run(old, f"COMMENT ON PUBLICATION shop_1 IS {psycopg.sql.quote(kept)}")
            file = tmp_path / "journal.json"
            with pytest.raises(ValueError, match=r"call the plan_resume\(\) of an UpgradeClone"):
                Upgrade(here, upgraded, name="shop", journal=file).plan_resume()
        (tmp_path / "stale.json").write_bytes((tmp_path / "journal.json").read_bytes())
        undone = await (await clone.plan_resume()).undo()
        assert type(undone[-1]).__name__ == "PublishTables"
        await insist_that_a_stale_journal_is_refused(clone, tmp_path)
    assert one(old, f"SELECT count(*) FROM ({LEFT}) AS left_there") == 0
    assert [*folder.glob("*"), *Path(f"{folder}.copy").glob("*")] == []


async def insist_that_a_stale_journal_is_refused(clone: AsyncUpgradeClone, folder: Path) -> None:
    """Begin another preparation, which the journal of the first one would remove."""
    journal, stale = folder / "journal.json", folder / "stale.json"

    async def refuse(match: str) -> None:
        # The same object: only the files differ.
        (folder / "kept.json").write_bytes(journal.read_bytes())
        journal.write_bytes(stale.read_bytes())
        plan = await clone.plan_resume()
        for operation in (plan.undo, plan.resume):
            with pytest.raises(ServerError, match=match):
                await operation()
        (folder / "kept.json").rename(journal)

    def stop(progress: StepProgress) -> None:
        if type(progress.step).__name__ == "CopyServer":
            raise RuntimeError("stopped")

    await refuse("no longer has the publication shop_1")
    with pytest.raises(RuntimeError, match="stopped"):
        await (await clone.plan_prepare()).run(stop)
    await refuse("publication shop_1 of the old server is of another run")
    # That of the second preparation is not stale.
    undone = await (await clone.plan_resume()).undo()
    assert type(undone[-1]).__name__ == "PublishTables"


async def test_programs_that_fail_leave_no_server_and_no_file(
    clusters: Clusters, major: int, colour: Colour, tmp_path: Path
) -> None:
    lab = clusters.lab
    old = lab.primary(version=major, settings={"wal_level": "logical"})
    run(old, "CREATE TABLE notes (id int PRIMARY KEY)")
    directory = lab.root / f"{old.name}.new"
    programs = lab.root / f"{old.name}.programs"
    programs.mkdir()
    for program in complete(lab, 18).bindir.iterdir():
        (programs / program.name).symlink_to(program)
    initdb = (programs / "initdb").resolve()

    def write(program: str, command: str) -> None:
        path = programs / program
        path.unlink()
        path.write_text(f"#!/bin/sh\n{command}\n")
        path.chmod(0o755)

    created: list[bool] = []

    def watch(progress: StepProgress) -> None:
        if type(progress.step).__name__ == "CopyServer" and progress.elapsed is not None:
            created.append(directory.joinpath("global/pg_control").exists())
        if type(progress.step).__name__ == "KeepSchema":
            raise RuntimeError("stopped")

    copy = Path(f"{directory}.copy")

    def left() -> tuple[object, list[int], list[Path]]:
        files = [*directory.glob("*"), *copy.glob("*")]
        objects = one(old, f"SELECT count(*) FROM ({LEFT}) AS left_there")
        return objects, servers_in(str(copy), str(directory)), files

    async with await colour.primary(old.conninfo) as primary:

        def clone_with(settings: dict[str, str]) -> AsyncUpgradeClone:
            kind = UpgradeClone if colour.name == "sync" else AsyncUpgradeClone
            clone: AsyncUpgradeClone = colour.bound(
                kind(
                    inner(primary),  # type: ignore[arg-type]
                    make_conninfo(old.conninfo, port="1"),
                    name="shop",
                    directory=directory,
                    bindir=programs,
                    old_bindir=complete(lab, major).bindir,
                    settings=settings,
                )
            )
            return clone

        clone = clone_with({"port": "1"})
        write("initdb", "echo no such locale >&2; exit 1")
        plan = await clone.plan_prepare()
        with pytest.raises(PlanFailed, match=r"copy the server into .*no such locale"):
            await plan.run()
        await plan.undo()
        assert left() == (0, [], [])
        write("initdb", f'exec {initdb} "$@"')
        with pytest.raises(TypeError, match=r"settings\['port'\] must be a str, not int"):
            clone_with({"port": 1})  # type: ignore[dict-item]
        misspelt = await clone_with({"port": "1", "shared_bufers": "1GB"}).plan_prepare()
        with pytest.raises(PlanFailed, match=r'copy the server .*parameter "shared_bufers"'):
            await misspelt.run()
        await misspelt.undo()
        assert left() == (0, [], [])
        plan = await clone.plan_prepare()
        with pytest.raises(RuntimeError, match="stopped"):
            await plan.run(watch)
        assert created == [True]
        await plan.undo()
        assert left() == (0, [], [])
        start = f'{complete(lab, major).bindir}/pg_ctl -D {copy} -o "-k {copy}" -w start'
        script = f"[ $1 = --version ] && exec echo 18; {start} > /dev/null 2>&1; exit 1"
        write("pg_upgrade", script)
        plan = await clone.plan_prepare()
        with pytest.raises(PlanFailed, match=r"upgrade .*run pg_upgrade"):
            await plan.run()
        assert left()[:2] == (2, [])
        await plan.undo()
        assert left() == (0, [], [])
        (programs / "vacuumdb").unlink()
        [finding] = await clone.check()
        assert (finding.check, finding.found) == ("programs", "vacuumdb in bindir")
    pid = int((old.data_directory / "postmaster.pid").read_text().split()[0])
    assert servers_in(str(old.data_directory)) == [pid]


@pytest.mark.parametrize(
    ("other", "found"),
    [
        ({"application_name": "new"}, "the old server answers"),
        ({"dbname": "nothing"}, "a server answers that refuses this role or database"),
        ({"port": "0"}, "this machine could not ask it"),
    ],
)
@pytest.mark.parametrize("setting", ["port", pytest.param("Port", marks=pytest.mark.matrix)])
async def test_a_server_that_answers_is_not_taken_for_the_new_one(
    clusters: Clusters,
    cluster: Pair,
    colour: Colour,
    tmp_path: Path,
    other: dict[str, str],
    found: str,
    setting: str,
) -> None:
    port = str(cluster.primary.port)
    async with await colour.primary(cluster.primary.conninfo) as primary:
        clone = colour.bound(
            (UpgradeClone if colour.name == "sync" else AsyncUpgradeClone)(
                inner(primary),  # type: ignore[arg-type]
                make_conninfo(cluster.primary.conninfo, **other),
                name="shop",
                directory=tmp_path / "new",
                bindir=complete(clusters.lab, 18).bindir,
                old_bindir=complete(clusters.lab, cluster.major).bindir,
                settings={setting: port},
            )
        )
        readiness = await clone.check()
    address, database = readiness["address"], readiness["database"]
    assert (readiness["port"].severity is Severity.OK) == ("port" not in other)
    assert (address.severity, address.found) == (Severity.CRITICAL, found)
    assert (database.severity is Severity.CRITICAL) == ("dbname" in other)


NOT_COPIED = (
    "CREATE DATABASE crm",
    "CREATE TABLE notes (id int PRIMARY KEY)",
    "CREATE SUBSCRIPTION feed CONNECTION 'host=localhost' PUBLICATION p WITH (connect = false)",
    "CREATE UNLOGGED TABLE cached (id int PRIMARY KEY)",
    "SELECT lo_create(0)",
    "SET allow_in_place_tablespaces = on",
    "CREATE TABLESPACE elsewhere LOCATION ''",
    "INSERT INTO notes VALUES (1)",
    "UPDATE pg_extension SET extconfig = ARRAY['notes'::regclass::oid]",
)


async def test_what_a_clone_would_copy_once_or_share_is_found(
    clusters: Clusters, major: int, colour: Colour, tmp_path: Path
) -> None:
    old = clusters.lab.primary(version=major, settings={"wal_level": "logical"})
    with psycopg.connect(old.conninfo, autocommit=True) as connection:
        for statement in NOT_COPIED:
            connection.execute(statement.encode())
    async with await colour.primary(old.conninfo) as primary:
        clone = colour.bound(
            (UpgradeClone if colour.name == "sync" else AsyncUpgradeClone)(
                inner(primary),  # type: ignore[arg-type]
                make_conninfo(old.conninfo, port="1"),
                name="shop",
                directory=tmp_path / "new",
                bindir=complete(clusters.lab, 18).bindir,
                old_bindir=complete(clusters.lab, major).bindir,
                settings={"port": "1"},
            )
        )
        readiness = await clone.check()
    wanted = {
        "other subscriptions": (Severity.CRITICAL, "feed"),
        "tablespaces": (Severity.CRITICAL, "elsewhere"),
        "other databases": (Severity.WARNING, "crm"),
        "large objects": (Severity.WARNING, "1 large object"),
        "unlogged tables": (Severity.WARNING, "public.cached"),
        "rows of extensions": (Severity.WARNING, "notes"),
    }
    found = {check: (readiness[check].severity, readiness[check].found) for check in wanted}
    assert found == wanted


async def test_a_clone_by_a_role_without_rights_is_refused_with_their_statements(
    clusters: Clusters, cluster: Pair, colour: Colour, tmp_path: Path
) -> None:
    primary = cluster.primary
    run(primary, "CREATE ROLE mover LOGIN REPLICATION PASSWORD 'mover'")
    conninfo = make_conninfo(primary.conninfo, user="mover", password="mover")
    try:
        async with await colour.primary(conninfo) as old:
            clone = colour.bound(
                (UpgradeClone if colour.name == "sync" else AsyncUpgradeClone)(
                    inner(old),  # type: ignore[arg-type]
                    make_conninfo(conninfo, port="1"),
                    name="shop",
                    directory=tmp_path / "new",
                    bindir=complete(clusters.lab, 18).bindir,
                    old_bindir=complete(clusters.lab, cluster.major).bindir,
                )
            )
            # The walsender of the standby is hidden from it.
            found = (await clone.check())["old: rights"]
            for statement in str(found.remedy).split(": ", 1)[1].split("; "):
                run(primary, statement)
            subscriptions = (await clone.check())["subscriptions"]
            assert subscriptions.severity is Severity.CRITICAL
            assert subscriptions.found == "mover may not create them"
            for statement in str(subscriptions.remedy).split(": ", 1)[1].split("; "):
                run(primary, statement)
            assert (await clone.check())["subscriptions"].severity is Severity.OK
    finally:
        run(primary, "DROP OWNED BY mover")
        run(primary, "DROP ROLE mover")
    assert found.severity is Severity.CRITICAL
    assert "; GRANT pg_monitor TO mover" in (found.remedy or "")
