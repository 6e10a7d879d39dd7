"""The common interface of Primary and Standby."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import psycopg
import pytest
from clusters import Cluster, conninfo_as, one, rows, run, soon
from colours import Colour, close, execute
from psycopg.pq import TransactionStatus

import pgreplkit
from pgreplkit import LSN, SegmentSize
from pgreplkit.rows import SettingContext, VarType, WalSender


async def test_connect_returns_the_class_of_the_servers_role(
    cluster: Cluster, colour: Colour
) -> None:
    async with await colour.connect(cluster.primary.conninfo) as server:
        assert not await server.is_in_recovery()
        assert "Primary" in repr(server)
    async with await colour.connect(cluster.standby.conninfo) as server:
        assert await server.is_in_recovery()
        assert "Standby" in repr(server)


async def test_the_version_is_the_servers(cluster: Cluster, colour: Colour) -> None:
    async with await colour.connect(cluster.primary.conninfo) as server:
        number = int(str(one(cluster.primary, "SHOW server_version_num")))
        assert (server.version.major, server.version.minor) == divmod(number, 10000)


async def test_both_roles_have_one_identity(cluster: Cluster, colour: Colour) -> None:
    position = cluster.catch_up()
    system_id = one(cluster.primary, "SELECT system_identifier FROM pg_control_system()")
    for node in (cluster.primary, cluster.standby):
        async with await colour.connect(node.conninfo) as server:
            identity = await server.identity()
            assert identity.system_id == system_id
            assert identity.timeline == await server.timeline() == 1
            assert identity.position >= position
            assert identity.database == "postgres"


async def test_the_segment_size_is_the_servers(cluster: Cluster, colour: Colour) -> None:
    async with await colour.connect(cluster.standby.conninfo) as server:
        size = await server.wal_segment_size()
        assert size == SegmentSize.DEFAULT
        assert (await server.setting("wal_segment_size")).value == size.bytes


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("checkpoint_timeout", timedelta(minutes=5)),
        ("deadlock_timeout", timedelta(seconds=1)),
        ("fsync", False),
        ("full_page_writes", True),
        ("shared_buffers", 16 << 20),
        ("max_wal_size", 1 << 30),
        ("wal_level", "logical"),
        ("max_connections", 100),
        ("seq_page_cost", 1.0),
        ("log_min_duration_statement", None),
        ("listen_addresses", "127.0.0.1"),
        ("wal_receiver_timeout", timedelta(minutes=1)),
        ("bgwriter_delay", timedelta(milliseconds=200)),
    ],
)
async def test_a_setting_has_a_typed_value(
    cluster: Cluster, colour: Colour, name: str, value: object
) -> None:
    async with await colour.connect(cluster.primary.conninfo) as server:
        found = (await server.setting(name)).value
        assert found == value
        assert type(found) is type(value)


async def test_every_setting_can_be_read(cluster: Cluster, colour: Colour) -> None:
    async with await colour.connect(cluster.primary.conninfo) as server:
        settings = await server.settings()
    expected = {row["name"]: row for row in rows(cluster.primary, "SELECT * FROM pg_settings")}
    assert settings.keys() == expected.keys()
    for name, setting in settings.items():
        row = expected[name]
        assert setting.vartype in list(VarType)
        assert setting.context in list(SettingContext)
        assert setting.enumvals == (row["enumvals"] and tuple(row["enumvals"]))
        if setting.source != "client":  # settings of the connection itself differ between the two
            same = {column: value for column, value in row.items() if column != "enumvals"}
            assert {column: getattr(setting, column) for column in same} == same
        if setting.unit and setting.setting and not setting.setting.startswith("-"):
            is_time = setting.unit.endswith(("s", "min", "h", "d"))
            assert isinstance(setting.value, timedelta if is_time else int), name


async def test_the_error_names_an_unknown_setting(cluster: Cluster, colour: Colour) -> None:
    async with await colour.connect(cluster.primary.conninfo) as server:
        with pytest.raises(pgreplkit.errors.SettingNotFound, match="wal_levle"):
            await server.setting("wal_levle")


async def test_reading_a_hidden_setting_names_the_role_to_grant(
    cluster: Cluster, colour: Colour
) -> None:
    async with await colour.connect(conninfo_as(cluster.primary, "stranger")) as server:
        with pytest.raises(pgreplkit.errors.InsufficientPrivilege) as caught:
            await server.setting("data_directory")
    assert caught.value.grant == "pg_read_all_settings"
    assert 'GRANT pg_read_all_settings TO "stranger"' in str(caught.value)


async def test_a_member_of_pg_monitor_without_one_of_its_functions_is_told_to_grant_it(
    cluster: Cluster, colour: Colour
) -> None:
    function = "EXECUTE ON FUNCTION pg_ls_waldir()"
    run(cluster.primary, f"REVOKE {function} FROM pg_monitor")
    try:
        async with await colour.connect(conninfo_as(cluster.primary, "observer")) as server:
            with pytest.raises(pgreplkit.errors.InsufficientPrivilege) as caught:
                await server.wal_files()
            assert "function pg_ls_waldir" in caught.value.found
            wanted = "has it already, GRANT to pg_monitor what the message names"
            assert wanted in caught.value.remedy
            run(cluster.primary, f"GRANT {function} TO pg_monitor")
            assert await server.wal_files()
    finally:
        run(cluster.primary, f"GRANT {function} TO pg_monitor")


async def test_reading_replicas_without_pg_monitor_names_it(
    cluster: Cluster, colour: Colour
) -> None:
    async with await colour.connect(conninfo_as(cluster.primary, "stranger")) as server:
        with pytest.raises(
            pgreplkit.errors.InsufficientPrivilege, match='GRANT pg_monitor TO "stranger"'
        ):
            await server.replicas()
        with pytest.raises(
            pgreplkit.errors.InsufficientPrivilege, match='GRANT pg_monitor TO "stranger"'
        ):
            await server.wal_files()
    async with await colour.connect(conninfo_as(cluster.primary, "observer")) as server:
        assert await server.replicas()
        assert await server.wal_files()


async def test_a_standby_without_a_cascade_has_no_replicas(
    cluster: Cluster, colour: Colour
) -> None:
    async with await colour.connect(cluster.standby.conninfo) as server:
        # A cascade of another test may have ended just before.
        assert await soon(server.replicas, lambda found: not found) == []


def status(connection: psycopg.AsyncConnection[object]) -> TransactionStatus:
    return connection.info.transaction_status


async def test_a_connection_of_the_caller_keeps_its_transaction_and_settings(
    cluster: Cluster, colour: Colour
) -> None:
    cluster.without_others()
    primary = await colour.primary_on(cluster.primary.conninfo, autocommit=False)
    theirs = primary.connection
    adapters = theirs.adapters
    await primary.wal_position()
    assert status(theirs) == TransactionStatus.IDLE
    await execute(theirs, "SET LOCAL DateStyle = 'SQL, DMY'; SET LOCAL IntervalStyle = iso_8601")
    assert status(theirs) == TransactionStatus.INTRANS
    [replica] = await primary.replicas()
    assert isinstance(replica, WalSender)
    with pytest.raises(pgreplkit.errors.SettingNotFound):
        await primary.setting("no_such_setting")
    assert status(theirs) == TransactionStatus.INTRANS
    assert theirs.adapters is adapters
    await primary.close()
    assert not theirs.closed
    await close(theirs)


async def test_a_connection_opened_by_the_library_is_closed_at_exit(
    cluster: Cluster, colour: Colour
) -> None:
    async with await colour.connect(cluster.primary.conninfo) as server:
        assert not server.connection.closed
    assert server.connection.closed
    assert "closed" in repr(server)
    with pytest.raises(pgreplkit.errors.ConnectionFailed):
        await server.timeline()


async def test_a_database_without_an_encoding_is_read(cluster: Cluster, colour: Colour) -> None:
    if not one(cluster.primary, "SELECT count(*) FROM pg_database WHERE datname = 'ascii'"):
        run(
            cluster.primary,
            "CREATE DATABASE ascii TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C'"
            " LC_CTYPE 'C'",
        )
    conninfo = psycopg.conninfo.make_conninfo(
        cluster.primary.conninfo, dbname="ascii", client_encoding="SQL_ASCII"
    )
    cluster.without_others()
    async with await colour.primary(conninfo) as primary:
        [replica] = await primary.replicas()
        assert replica.application_name == cluster.standby.name
        assert (await primary.identity()).database == "ascii"


@pytest.mark.parametrize(
    "conninfo", ["host=127.0.0.1 port=1 password=hushhush", "password=hushhush zzz hushhush"]
)
async def test_a_failed_connection_does_not_show_the_password(
    colour: Colour, conninfo: str
) -> None:
    with pytest.raises(pgreplkit.errors.ConnectionFailed) as caught:
        await colour.connect(conninfo)
    error: BaseException | None = caught.value
    while error is not None:
        assert "hushhush" not in f"{error} {error!r}"
        error = None if error.__suppress_context__ else error.__context__


async def test_a_wrong_password_is_a_failed_connection(cluster: Cluster, colour: Colour) -> None:
    with pytest.raises(pgreplkit.errors.ConnectionFailed, match="stranger"):
        await colour.connect(conninfo_as(cluster.primary, "stranger"), password="hushhush")


async def test_a_repr_shows_the_server_and_no_password(cluster: Cluster, colour: Colour) -> None:
    async with await colour.connect(conninfo_as(cluster.primary, "observer")) as server:
        assert f"PostgreSQL {server.version}" in repr(server)
        assert repr(server).count("observer") == 1


async def test_a_statement_timeout_raises_its_own_error(cluster: Cluster, colour: Colour) -> None:
    async with await colour.connect(cluster.primary.conninfo) as server:
        await execute(server.connection, "SET statement_timeout = '1ms'")

        async def many() -> None:
            # A quiet machine answers within the millisecond most of the time.
            for _ in range(10_000):
                await server.settings()

        with pytest.raises(pgreplkit.errors.StatementTimeout, match="read the settings"):
            await many()


async def test_lsns_are_adapted_on_own_connections(cluster: Cluster, colour: Colour) -> None:
    async with await colour.connect(cluster.primary.conninfo) as server:
        rows_read = await execute(server.connection, "SELECT '16/B374D848'::pg_lsn")
        assert rows_read == [(LSN("16/B374D848"),)]


@pytest.mark.parametrize("factory", [psycopg.ClientCursor, psycopg.RawCursor])
def test_a_connection_of_the_caller_may_use_any_cursor_class(
    cluster: Cluster, factory: type[psycopg.Cursor]
) -> None:
    with psycopg.connect(cluster.primary.conninfo, cursor_factory=factory) as theirs:
        primary = pgreplkit.Primary(theirs)
        assert primary.setting("fsync").value is False
        assert primary.wal_file(LSN("1/0")) == pgreplkit.wal.pg_walfile_name(
            LSN("1/0"), server_version=cluster.major
        )


async def test_a_failed_transaction_is_reported(cluster: Cluster, colour: Colour) -> None:
    primary = await colour.primary_on(cluster.primary.conninfo, autocommit=False)
    with pytest.raises(psycopg.errors.SyntaxError):
        await execute(primary.connection, "SELEC")
    with pytest.raises(pgreplkit.errors.ServerError, match="roll it back"):
        await primary.replicas()
    await close(primary.connection)


async def test_every_call_on_a_lost_connection_raises(cluster: Cluster, colour: Colour) -> None:
    async with await colour.primary(cluster.primary.conninfo) as server:
        [(pid,)] = await execute(server.connection, "SELECT pg_backend_pid()")
        run(cluster.primary, f"SELECT pg_terminate_backend({pid})")
        for _ in range(2):
            with pytest.raises(pgreplkit.errors.ConnectionFailed):
                await server.replicas()
        with pytest.raises(pgreplkit.errors.ConnectionFailed, match="lost"):
            server.version  # noqa: B018
        # They are refused in a transaction of the caller's, which there is not.
        for call in (server.write_marker, server.write_fences, partial(server.fence_writes, ["t"])):
            with pytest.raises(pgreplkit.errors.ConnectionFailed):
                await call()


async def test_an_invalid_connection_string_is_an_error(colour: Colour) -> None:
    with pytest.raises(TypeError, match="a connection string must be a str"):
        await colour.connect(None)  # type: ignore[arg-type]
