"""Two databases that both write: the last update wins on each of them."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

import psycopg
import pytest
from clusters import Clusters, wait_until
from databases import Database, shadowed_operators
from psycopg.errors import FeatureNotSupported
from running import running

from pgreplkit import LSN
from pgreplkit.apply import (
    Applier,
    ConflictKind,
    DeltaColumns,
    LastUpdateWins,
    Membership,
    MergeWith,
    NodePriority,
    Policy,
)
from pgreplkit.catalog.logical import applying
from pgreplkit.changes import Row
from pgreplkit.errors import (
    ApplyFailed,
    ClockSkewTooLarge,
    ConnectionFailed,
    KeyMissing,
    SchemaMismatch,
    TableNotFound,
    WaitTimeout,
)
from pgreplkit.rows import Severity

RANKS = {"berlin": 1, "paris": 2}
TABLE = "CREATE TABLE t (id int PRIMARY KEY, name text, n int)"


class Both:
    """Two databases, and an applier in each direction."""

    def __init__(self, clusters: Clusters, major: int) -> None:
        settings = {"wal_level": "logical", "track_commit_timestamp": "on"}
        node = clusters.lab.primary(version=major, name="both", settings=settings)
        self.ties = "rank" if major >= 14 else "row"
        self.berlin, self.paris = Database(node, "berlin"), Database(node, "paris")
        for each in (self.berlin, self.paris):
            Database(node, "postgres").run(f"CREATE DATABASE {each.name}")
            each.run(TABLE, "CREATE PUBLICATION p FOR TABLE t")
        self.to_paris = self.applier(self.berlin, self.paris)
        self.to_berlin = self.applier(self.paris, self.berlin)

    def applier(
        self,
        source: Database,
        target: Database,
        policy: Policy | None = None,
        *,
        on_error: Literal["stop", "park"] = "stop",
    ) -> Applier:
        name = f"{source.name}_{target.name}"
        members = Membership(
            node=target.name,
            source=source.name,
            ranks=RANKS,
            origins={f"pgreplkit_{name}": source.name},
            ties=self.ties,
        )
        return Applier(
            source.conninfo,
            target.conninfo,
            name,
            publications=["p"],
            conflicts=policy or LastUpdateWins(),
            origin="none",
            membership=members,
            copy=False,
            on_error=on_error,
        )

    def end(self) -> LSN:
        return LSN(str(self.berlin.one("SELECT pg_current_wal_lsn()::text")))

    def exchange(self) -> None:
        end = self.end()
        for applier in (self.to_paris, self.to_berlin):
            applier.run(stop_at=end, timeout=30)

    def rows(self) -> list[tuple[object, ...]]:
        """The rows, which are the same in both."""
        berlin, paris = (
            each.all("SELECT * FROM t ORDER BY id") for each in (self.berlin, self.paris)
        )
        assert berlin == paris
        return berlin


@pytest.fixture
def both(clusters: Clusters, major: int) -> Both:
    return Both(clusters, major)


AS_APPLIER = """
    SELECT set_config('session_replication_role', 'replica', false),
        pg_replication_origin_session_setup(current_database())
"""
INSERT_EARLY = """
    INSERT INTO t VALUES (90, 'early', 0);
    SELECT pg_replication_origin_xact_setup('0/1', now() - interval '1 h')
"""
FAILS_ONCE = (
    "CREATE SEQUENCE attempts",
    """CREATE FUNCTION fail_once() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF nextval('public.attempts') = 1 THEN
            RAISE EXCEPTION 'deadlock' USING ERRCODE = '40P01';
        END IF;
        RETURN OLD;
    END $$""",
    "CREATE TRIGGER fail_once BEFORE DELETE ON t FOR EACH ROW EXECUTE PROCEDURE fail_once()",
    "ALTER TABLE t ENABLE ALWAYS TRIGGER fail_once",
)


def insist_on_sweeps_of_an_idle_stream(both: Both) -> None:
    """A row that is inserted beside its later deletion is deleted, though no other change comes."""
    both.paris.run(*FAILS_ONCE)
    for each in (both.berlin, both.paris):
        each.run("SELECT pg_replication_origin_create(current_database())")
    with (
        psycopg.connect(both.berlin.conninfo) as berlin,
        psycopg.connect(both.paris.conninfo) as paris,
    ):
        berlin.execute(AS_APPLIER)
        paris.execute(AS_APPLIER)
        berlin.execute(INSERT_EARLY)
        berlin.commit()
        paris.execute(INSERT_EARLY)
        both.berlin.run("DELETE FROM t WHERE id = 90")
        with running(both.to_paris):
            late = "SELECT EXISTS (SELECT FROM pgreplkit.tombstone WHERE is_late AND key = '[90]')"
            wait_until(lambda: both.paris.one(late) is True)
            paris.commit()
            wait_until(lambda: both.paris.all("SELECT id FROM t WHERE id = 90") == [])
    # The deletion was tried again after the deadlock.
    assert both.paris.one("SELECT last_value FROM attempts") == 2


def insist_on_several_changes_at_once(both: Both) -> None:
    """Changes that all win are applied together; if one of them loses, the others win."""
    before = dict(both.to_paris.counters)
    both.berlin.run("INSERT INTO t SELECT i, 'several', i FROM generate_series(70, 79) AS i")
    both.berlin.run(
        "BEGIN; UPDATE t SET n = 0 WHERE id > 75; DELETE FROM t WHERE id > 77;"
        " INSERT INTO t VALUES (78, 'again', 8), (79, 'again', 9); COMMIT"
    )
    both.exchange()
    assert both.rows()[-4:] == [
        (76, "several", 0),
        (77, "several", 0),
        (78, "again", 8),
        (79, "again", 9),
    ]
    assert dict(both.to_paris.counters) == before
    both.berlin.run(
        "INSERT INTO t VALUES (80, 'loses', 0), (81, 'lives', 1)",
        "UPDATE t SET n = 5 WHERE id IN (76, 77)",
        "DELETE FROM t WHERE id IN (78, 79)",
    )
    both.paris.run(
        "INSERT INTO t VALUES (80, 'x', 0); DELETE FROM t WHERE id = 80",
        "UPDATE t SET n = 6 WHERE id = 77",
        "UPDATE t SET n = 7 WHERE id = 79",
    )
    both.exchange()
    assert both.rows()[-4:] == [
        (76, "several", 5),
        (77, "several", 6),
        (79, "again", 7),
        (81, "lives", 1),
    ]
    kinds = both.to_paris.counters
    assert kinds[ConflictKind.INSERT_DELETED] == 1
    assert (
        kinds[ConflictKind.UPDATE_ORIGIN_DIFFERS] == before[ConflictKind.UPDATE_ORIGIN_DIFFERS] + 1
    )
    assert kinds[ConflictKind.DELETE_ORIGIN_DIFFERS] == 1 + before.get(
        ConflictKind.DELETE_ORIGIN_DIFFERS, 0
    )


@pytest.mark.pg(">=10")
def test_the_last_update_wins_whatever_arrives_first(both: Both) -> None:
    both.exchange()
    both.paris.run("DROP TRIGGER pgreplkit_bury ON t")
    both.berlin.run("INSERT INTO t SELECT i, 'first', i FROM generate_series(1, 9) AS i")
    both.exchange()
    assert len(both.rows()) == 9
    # A trigger that was dropped is created again.
    assert both.paris.one("SELECT count(*) FROM pg_trigger WHERE tgrelid = 't'::regclass") == 3
    both.berlin.run("UPDATE t SET name = 'loses' WHERE id = 1")
    both.paris.run(
        "UPDATE t SET name = 'wins' WHERE id = 1",
        "DELETE FROM t WHERE id IN (2, 3)",
        "UPDATE t SET name = 'loses' WHERE id = 4",
        "UPDATE t SET id = 50 WHERE id = 5",
    )
    both.berlin.run(
        "UPDATE t SET name = 'lives again' WHERE id = 2",
        "DELETE FROM t WHERE id = 4",
        "UPDATE t SET id = 60 WHERE id = 6",
        "DELETE FROM t WHERE id = 7; INSERT INTO t VALUES (7, 'replaced', 7)",
    )
    both.exchange()
    assert both.rows() == [
        (1, "wins", 1),
        (2, "lives again", 2),
        (7, "replaced", 7),
        (8, "first", 8),
        (9, "first", 9),
        (50, "first", 5),
        (60, "first", 6),
    ]
    kinds = both.to_paris.counters
    assert kinds[ConflictKind.UPDATE_ORIGIN_DIFFERS] == 1
    assert kinds[ConflictKind.UPDATE_MISSING] == 1
    assert both.to_berlin.counters[ConflictKind.UPDATE_DELETED] == 1
    with pytest.raises(FeatureNotSupported, match="could not truncate t: several nodes write it"):
        both.paris.run("TRUNCATE t")
    # A tombstone that is late, because a transaction ran during it, is swept by the next run.
    both.paris.run("DELETE FROM t WHERE id = 8")
    both.berlin.run("DELETE FROM t WHERE id = 8")
    both.exchange()
    assert both.to_paris.counters[ConflictKind.DELETE_MISSING] == 1
    assert len(both.rows()) == 6
    insist_on_several_changes_at_once(both)
    insist_on_sweeps_of_an_idle_stream(both)


SPELT = (
    "DROP TABLE t",
    "CREATE DOMAIN amount AS numeric",
    "CREATE TABLE t (id amount, place float8, name text, n numeric(5, 2) NOT NULL,"
    " PRIMARY KEY (id, place))",
    "ALTER TABLE t REPLICA IDENTITY FULL",
    "ALTER PUBLICATION p ADD TABLE t",
)


LONGER = {
    "varchar(3)": ("text", "'too long'", "'too'", ["too long"]),
    "short": ("text", "'too long'", "'too'", ["too long"]),
    "char(3)": ("text", "'too long'", "'too'", ["too long"]),
    "bit(3)": ("varbit", "B'101010'", "B'101'", ["101010"]),
    "varbit(3)": ("varbit", "B'101010'", "B'101'", ["101010"]),
}
"""Types of the subscriber: the publisher's type, a value that is too long, the same one cut off,
and the key in a tombstone."""
BURIED = "SELECT key FROM pgreplkit.tombstone WHERE relation = '{}'::regclass"
LONG_TABLES = {f"long{number}": kind for number, kind in enumerate(LONGER)}


@pytest.mark.pg(">=10")
@pytest.mark.one_colour
@pytest.mark.parametrize(
    "policy", [LastUpdateWins(), DeltaColumns({table: ["n"] for table in LONG_TABLES})]
)
@pytest.mark.matrix
def test_a_value_that_is_too_long_is_never_cut_off(both: Both, policy: Policy) -> None:
    both.paris.run("CREATE DOMAIN short AS varchar(3)")
    for table, kind in LONG_TABLES.items():
        for each, own in ((both.berlin, LONGER[kind][0]), (both.paris, kind)):
            each.run(
                f"CREATE TABLE {table} (id {own} PRIMARY KEY, name {own}, n int NOT NULL)",
                f"ALTER TABLE {table} REPLICA IDENTITY FULL",
                f"ALTER PUBLICATION p ADD TABLE {table}",
            )
    to_paris = both.applier(both.berlin, both.paris, policy)
    to_paris.run(stop_at=both.end(), timeout=30)
    for table, kind in LONG_TABLES.items():
        both.berlin.run(f"INSERT INTO {table} VALUES ({LONGER[kind][2]}, NULL, 1)")
    to_paris.run(stop_at=both.end(), timeout=30)
    for table, kind in LONG_TABLES.items():
        sent, longer, *_ = LONGER[kind]
        both.berlin.run(f"UPDATE {table} SET name = {longer}")
        with pytest.raises(SchemaMismatch, match=rf"{table}.*name"):
            to_paris.run(stop_at=both.end(), timeout=30)
        both.paris.run(f"ALTER TABLE {table} ALTER name TYPE {sent}")
    to_paris.run(stop_at=both.end(), timeout=30)
    # The key that is cut off is that of another row, which a deletion must not find.
    parking = both.applier(both.berlin, both.paris, policy, on_error="park")
    for table, kind in LONG_TABLES.items():
        _, longer, *_ = LONGER[kind]
        both.berlin.run(f"INSERT INTO {table} VALUES ({longer}, NULL, 1)")
        with pytest.raises(SchemaMismatch, match=rf"{table}.*id"):
            to_paris.run(stop_at=both.end(), timeout=30)
        both.berlin.run(f"DELETE FROM {table} WHERE id = {longer}")
        assert parking.run(stop_at=both.end(), timeout=30).parked == 1
        both.berlin.run(f"UPDATE {table} SET n = 2")
    parking.run(stop_at=both.end(), timeout=30)
    for table, kind in LONG_TABLES.items():
        assert both.paris.all(f"SELECT n FROM {table}") == [(2,)]
        assert both.paris.one(BURIED.format(table)) == LONGER[kind][3]
    parking.drop()


@pytest.mark.pg(">=10")
@pytest.mark.one_colour
def test_delta_columns_of_a_table_that_is_not_applied_are_refused(both: Both) -> None:
    to_paris = both.applier(both.berlin, both.paris, DeltaColumns({"accounts": ["n"]}))
    refused = r"there are delta columns of public\.accounts; changes are applied to public\.t;"
    with pytest.raises(TableNotFound, match=refused):
        to_paris.check()
    with pytest.raises(TableNotFound, match=refused):
        to_paris.run(timeout=30)
    schemas = "SELECT count(*) FROM pg_namespace WHERE nspname = 'pgreplkit'"
    assert (both.berlin.one(schemas), both.paris.one(schemas)) == (0, 0)


@pytest.mark.pg(">=10")
@pytest.mark.one_colour
@pytest.mark.parametrize("policy", [LastUpdateWins(), DeltaColumns({"t": ["n"]})])
def test_two_spellings_of_a_number_are_one_key(both: Both, policy: Policy) -> None:
    for each in (both.berlin, both.paris):
        each.run(*SPELT)
    both.to_paris = both.applier(both.berlin, both.paris, policy)
    both.to_berlin = both.applier(both.paris, both.berlin, policy)
    assert both.to_paris.check()["table public.t, deletions"].severity is Severity.OK
    both.exchange()
    both.berlin.run("INSERT INTO t SELECT i + 0.0, 0, 'first', 1 FROM generate_series(1, 7) AS i")
    both.exchange()
    both.berlin.run("UPDATE t SET id = 1.00, place = '-0' WHERE id = 1")
    both.paris.run("UPDATE t SET id = 2.000 WHERE id = 2")
    both.berlin.run("UPDATE t SET id = 2.00 WHERE id = 2", "UPDATE t SET id = 3.00 WHERE id = 3")
    both.paris.run("DELETE FROM t WHERE id = 3")
    both.berlin.run("UPDATE t SET id = 5.00, name = 'several', n = 2 WHERE id IN (5)")
    is_plain = type(policy) is LastUpdateWins
    # With differences, a key that was deleted cannot be used again.
    both.berlin.run("DELETE FROM t WHERE id = 7")
    if is_plain:
        both.berlin.run("UPDATE t SET id = 7.00 WHERE id = 6")
    both.exchange()
    shown = [(str(id_), str(place), name, n) for id_, place, name, n in both.rows()]
    assert shown == [
        ("1.00", "-0.0", "first", 1),
        ("2.00", "0.0", "first", 1),
        ("4.0", "0.0", "first", 1),
        ("5.00", "0.0", "several", 2),
        ("7.00" if is_plain else "6.0", "0.0", "first", 1),
    ]
    if not is_plain:
        both.berlin.run("UPDATE t SET n = 'NaN' WHERE id = 4")
        with pytest.raises(ApplyFailed, match="NaN has no difference"):
            both.exchange()
        return
    both.berlin.run("INSERT INTO t VALUES (8.0, 0, 'loses', 0)")
    both.paris.run("INSERT INTO t VALUES (8.00, '-0', 'wins', 0)", "DELETE FROM t WHERE id = 4")
    both.berlin.run("UPDATE t SET id = 4.0000, name = 'lives' WHERE id = 4")
    both.exchange()
    last = [tuple(map(str, row)) for row in both.rows()]
    assert last[2] == ("4.0000", "0.0", "lives", "1.00")
    assert last[-1] == ("8.00", "-0.0", "wins", "0.00")
    for each in (both.berlin, both.paris):
        each.run("CREATE TABLE loose (made interval, code bpchar, PRIMARY KEY (made, code))")
    both.berlin.run("ALTER PUBLICATION p ADD TABLE loose")
    found = both.to_paris.check()["table public.loose, deletions"]
    assert found.severity is Severity.CRITICAL
    columns = "made of the type interval, code of the type bpchar"
    assert found.found == f"the key of public.loose has {columns}"
    with pytest.raises(KeyMissing, match="its key has made of the type interval"):
        both.exchange()
    # Before anything is changed.
    triggers = "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'loose'::regclass"
    assert both.paris.one(triggers) == 0


@pytest.mark.pg(">=18")
def test_a_commit_of_the_future_is_not_applied(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    both.exchange()
    both.berlin.run("INSERT INTO t VALUES (1, 'early', 1)")
    late = "(clock_timestamp() - interval '1 h')"
    with monkeypatch.context() as patch:
        patch.setattr(applying, "CLOCK", f"SELECT {late} AS now")
        guard = applying.CLOCK_GUARD.replace("clock_timestamp()", late)
        patch.setattr(applying, "CLOCK_GUARD", guard)
        with pytest.raises(ClockSkewTooLarge) as caught:
            both.exchange()
        assert caught.value.ahead > timedelta(minutes=59)
        assert caught.value.limit == timedelta(seconds=5)
        assert both.paris.all("SELECT * FROM t") == []
        assert both.to_paris.waits_for_clock > timedelta(minutes=59)
        # A wait within a longer limit ends with the run.
        patient = both.applier(both.berlin, both.paris, LastUpdateWins(max_clock_skew=7200))
        with pytest.raises(WaitTimeout):
            patient.run(timeout=0.5)
        with running(patient):
            wait_until(lambda: patient.waits_for_clock > timedelta(minutes=59))
    both.exchange()
    assert both.to_paris.waits_for_clock == timedelta(0)
    assert both.rows() == [(1, "early", 1)]
    both.paris.run("CREATE UNIQUE INDEX lower_name ON t (lower(name)) WHERE n > 0")
    unique = both.to_paris.check()["table public.t, other unique indexes"]
    assert unique.found == "public.t has lower_name"
    # TRUNCATE has no version; a superuser can get it past the trigger.
    both.berlin.run("SET session_replication_role = replica; TRUNCATE t")
    with pytest.raises(ApplyFailed, match="TRUNCATE cannot be applied where several nodes write"):
        both.exchange()


def add(local: Row, remote: Row) -> dict[str, object]:
    return {"n": int(str(local["n"])) + int(str(remote["n"]))}


@pytest.mark.pg(">=18")
def test_priorities_and_functions_decide_without_times(both: Both) -> None:
    """Two policies on one server, which takes longer to start than they take."""
    policy = NodePriority(["berlin", "paris"])
    both.to_paris = both.applier(both.berlin, both.paris, policy)
    both.to_berlin = both.applier(both.paris, both.berlin, policy)
    both.exchange()
    both.berlin.run("INSERT INTO t SELECT i, 'berlin', i FROM generate_series(1, 4) AS i")
    both.paris.run(
        "INSERT INTO t VALUES (1, 'paris', 9), (9, 'paris', 9)",
        # Of one transaction: its own earlier change is not berlin's.
        "BEGIN; INSERT INTO t VALUES (8, 'x', 1); UPDATE t SET name = 'y' WHERE id = 8; COMMIT",
    )
    both.exchange()
    assert both.rows()[0] == (1, "berlin", 1)
    assert both.rows()[4:] == [(8, "y", 1), (9, "paris", 9)]
    both.paris.run("UPDATE t SET n = 0 WHERE id = 2", "DELETE FROM t WHERE id = 3")
    both.berlin.run("UPDATE t SET n = 5 WHERE id = 9")
    both.exchange()
    # Paris keeps what it changed of berlin's rows, and berlin refuses it.
    assert both.berlin.one("SELECT n FROM t WHERE id = 2") == 2
    assert both.paris.one("SELECT n FROM t WHERE id = 2") == 0
    assert both.to_berlin.counters[ConflictKind.UPDATE_ORIGIN_DIFFERS] == 1
    assert both.to_berlin.counters[ConflictKind.DELETE_ORIGIN_DIFFERS] == 1
    assert both.paris.one("SELECT n FROM t WHERE id = 9") == 5

    both.to_paris.drop()
    both.paris.run("DELETE FROM t", "INSERT INTO t VALUES (1, 'here', 10), (2, 'here', 10)")
    both.to_paris = both.applier(both.berlin, both.paris, MergeWith(add))
    with pytest.raises(SchemaMismatch, match="REPLICA IDENTITY FULL"):
        both.to_paris.run(timeout=20)
    both.berlin.run("ALTER TABLE t REPLICA IDENTITY FULL", "DELETE FROM t")
    both.to_paris.drop()
    both.to_paris.run(stop_at=LSN.INVALID, timeout=20)
    both.berlin.run("INSERT INTO t VALUES (1, 'there', 1), (3, 'there', 3)")
    both.berlin.run("UPDATE t SET n = 4 WHERE id = 3")
    both.to_paris.run(stop_at=both.end(), timeout=20)
    both.paris.run("UPDATE t SET name = 'mine' WHERE id = 3", "DELETE FROM t WHERE id = 1")
    both.berlin.run(
        "UPDATE t SET n = 6, name = 'theirs' WHERE id = 3", "UPDATE t SET n = 7 WHERE id = 1"
    )
    both.to_paris.run(stop_at=both.end(), timeout=20)
    rows = both.paris.all("SELECT * FROM t ORDER BY id")
    assert rows == [(1, "there", 7), (2, "here", 10), (3, "mine", 10)]
    found = [(c.kind, c.resolution) for c in both.to_paris.conflicts()]
    assert found == [
        (ConflictKind.INSERT_EXISTS, "merged"),
        (ConflictKind.UPDATE_ORIGIN_DIFFERS, "merged"),
        (ConflictKind.UPDATE_MISSING, "applied"),
    ]


def test_old_deletions_are_flushed_before_the_stream_has_sent_anything(both: Both) -> None:
    both.exchange()
    # A table that the applier does not know, so that it does not check the constraint before.
    both.paris.run(
        "CREATE SEQUENCE attempts",
        "CREATE TABLE audit (id int)",
        """CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO public.audit VALUES (NEW.id); RETURN NULL; END $$""",
        "CREATE TRIGGER note AFTER INSERT ON t FOR EACH ROW EXECUTE PROCEDURE note()",
        "ALTER TABLE t ENABLE ALWAYS TRIGGER note",
        """CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF nextval('public.attempts') = 1 THEN
                PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(10);
            END IF; RETURN NULL; END $$""",
        "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON audit DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE PROCEDURE fail()",
        "ALTER TABLE audit ENABLE ALWAYS TRIGGER late",
    )
    # Until it has decoded these rows, the server sends nothing.
    both.berlin.run(
        "CREATE TABLE other AS SELECT i FROM generate_series(1, 300000) AS i",
        "INSERT INTO t VALUES (1, 'a', 1)",
    )
    with pytest.raises(ConnectionFailed):
        both.to_paris.run(stop_at=both.end(), timeout=30)
    both.exchange()
    assert both.rows() == [(1, "a", 1)]


@pytest.mark.pg(">=10")
@pytest.mark.matrix
def test_differences_that_overflow_on_the_way_are_added_later(both: Both) -> None:
    for each in (both.berlin, both.paris):
        each.run(
            "CREATE TABLE s (id int PRIMARY KEY, n smallint NOT NULL, name text)",
            "ALTER TABLE s REPLICA IDENTITY FULL",
            "CREATE PUBLICATION sums FOR TABLE s",
        )
    names = "berlin_sums", "paris_sums"
    ends = (both.berlin, both.paris), (both.paris, both.berlin)
    to_paris, to_berlin = appliers = [
        Applier(
            source.conninfo,
            target.conninfo,
            name,
            publications=["sums"],
            conflicts=DeltaColumns({"s": ["n"]}),
            on_error="park",
            copy=False,
            membership=Membership(
                node=target.name,
                source=source.name,
                ranks=RANKS,
                origins={f"pgreplkit_{name}": source.name},
                ties=both.ties,
            ),
        )
        for name, (source, target) in zip(names, ends, strict=True)
    ]

    def exchange() -> list[list[tuple[object, ...]]]:
        until = both.end()
        for applier in appliers:
            applier.run(stop_at=until, timeout=30)
        return [each.all("SELECT * FROM s ORDER BY id") for each in (both.berlin, both.paris)]

    exchange()
    both.berlin.run("INSERT INTO s VALUES (1, 0, 'first')")
    exchange()
    both.berlin.run("UPDATE s SET n = 30000, name = 'up'", "UPDATE s SET n = -30000")
    both.paris.run("UPDATE s SET n = -30000, name = 'down'", "UPDATE s SET n = 30000, name = 'p'")
    assert exchange() == [[(1, 30000, "p")], [(1, -30000, "p")]]
    # Each node was over its limit before the other's second change had come.
    for applier in appliers:
        [parked] = applier.parked()
        assert parked.sqlstate == "22003"
        applier.apply_parked(parked)
    # They were added once, with the times of their commits.
    assert exchange() == [[(1, 0, "p")], [(1, 0, "p")]]
    assert not [*to_paris.parked(), *to_berlin.parked()]
    for applier in appliers:
        applier.drop()
    for each in (both.berlin, both.paris):
        each.run("DROP TABLE s", "DROP PUBLICATION sums")


@pytest.mark.pg(">=10")
@pytest.mark.one_colour
def test_a_deletion_executes_no_operator_of_a_client_with_other_rights(both: Both) -> None:
    both.exchange()
    both.berlin.run(
        "INSERT INTO t VALUES (1, 'a', 1)",
        "CREATE ROLE writer LOGIN PASSWORD 'writer'",
        "GRANT CREATE ON DATABASE berlin TO writer",
        "GRANT SELECT, DELETE ON t TO writer",
    )
    with psycopg.connect(both.berlin.as_role("writer"), autocommit=True) as connection:
        for statement in shadowed_operators("=", "<>"):
            connection.execute(statement.encode())
        connection.execute("DELETE FROM t")
    both.exchange()
    assert both.rows() == []
