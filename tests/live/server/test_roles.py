"""Replication roles: created, altered, dropped, without showing their passwords."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from clusters import Cluster, conninfo_as, one, rows, run, soon
from colours import Colour

import pgreplkit

ODD = 'Ödd "name" with spaces\'; -- %s'


@pytest.fixture
def name(cluster: Cluster) -> Iterator[str]:
    yield ODD
    run(cluster.primary, 'DROP ROLE IF EXISTS "{}"'.format(ODD.replace('"', '""')))


def connects(cluster: Cluster, role: str, password: str, *, replication: bool) -> bool:
    conninfo = psycopg.conninfo.make_conninfo(
        cluster.primary.conninfo, user=role, password=password
    )
    extra = {"replication": "true"} if replication else {}
    try:
        psycopg.connect(conninfo, passfile="/dev/null", **extra).close()  # type: ignore[arg-type]
    except psycopg.OperationalError:
        return False
    return True


async def test_a_created_role_can_replicate_with_its_password(
    cluster: Cluster, colour: Colour, name: str
) -> None:
    async with await colour.primary(cluster.primary.conninfo) as primary:
        role = await primary.create_replication_role(
            name, password="päss'word", connection_limit=3, monitor=True
        )
        assert (role.rolname, role.rolcanlogin, role.rolreplication) == (name, True, True)
        assert (role.rolsuper, role.rolconnlimit, role.is_monitor) == (False, 3, True)
        assert (role.rolvaliduntil, role.connections) == (None, 0)
        assert connects(cluster, name, "päss'word", replication=True)
        assert not connects(cluster, name, "other", replication=True)
        stored = one(
            cluster.primary,
            "SELECT rolpassword FROM pg_authid WHERE rolname LIKE '%dd \"name\"%'",
        )
        assert str(stored).startswith("SCRAM-SHA-256$")
        # An ended session keeps its row for a moment.
        assert role in await soon(primary.replication_roles, lambda roles: role in roles)
        with pytest.raises(pgreplkit.errors.AlreadyExists):
            await primary.create_replication_role(name)


async def test_the_password_is_not_in_what_the_server_logs(
    cluster: Cluster, colour: Colour, name: str
) -> None:
    run(cluster.primary, "ALTER SYSTEM SET log_statement = 'all'")
    run(cluster.primary, "SELECT pg_reload_conf()")
    try:
        async with await colour.primary(cluster.primary.conninfo) as primary:
            await primary.create_replication_role(name, password="the-secret-word")
            await primary.alter_replication_role(name, password="the-secret-word-2")
    finally:
        run(cluster.primary, "ALTER SYSTEM RESET log_statement")
        run(cluster.primary, "SELECT pg_reload_conf()")
    assert "the-secret-word" not in cluster.primary.log_file.read_text()


async def test_altering_a_role_changes_only_the_given_attributes(
    cluster: Cluster, colour: Colour, name: str
) -> None:
    async with await colour.primary(cluster.primary.conninfo) as primary:
        made = await primary.create_replication_role(name, password="a")
        assert await primary.alter_replication_role(name) == made
        role = await primary.alter_replication_role(name, password="b", connection_limit=5)
        assert (role.rolconnlimit, role.is_monitor) == (5, False)
        assert connects(cluster, name, "b", replication=True)
        assert (await primary.alter_replication_role(name, monitor=True)).is_monitor
        assert not (await primary.alter_replication_role(name, monitor=False)).is_monitor
        await primary.drop_replication_role(name)
        for call in (primary.drop_replication_role, primary.alter_replication_role):
            with pytest.raises(pgreplkit.errors.RoleNotFound):
                await call(name)


async def test_a_role_without_replication_is_not_altered(cluster: Cluster, colour: Colour) -> None:
    async with await colour.primary(cluster.primary.conninfo) as primary:
        for call in (primary.drop_replication_role, primary.alter_replication_role):
            with pytest.raises(
                pgreplkit.errors.RoleNotFound, match=r"the attribute REPLICATION; .*ALTER ROLE"
            ):
                await call("stranger")
        names = [role.rolname for role in await primary.replication_roles()]
    assert "stranger" not in names
    assert "postgres" in names
    assert rows(cluster.primary, "SELECT FROM pg_roles WHERE rolname = 'stranger'")


async def test_impossible_role_names_and_limits_are_refused(
    cluster: Cluster, colour: Colour
) -> None:
    async with await colour.primary(cluster.primary.conninfo) as primary:
        for bad in ("", "a\0", "ä" * 32, "pg_mine", "half\udc80"):
            with pytest.raises(pgreplkit.errors.InvalidRoleName):
                await primary.create_replication_role(bad)
        with pytest.raises(TypeError):
            await primary.create_replication_role(5)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="connection_limit"):
            await primary.create_replication_role("limited", connection_limit=-2)
        for password in ("", "cut\0off"):
            with pytest.raises(ValueError, match="password must not be empty"):
                await primary.create_replication_role("limited", password=password)
        with pytest.raises(TypeError, match="password must be a str"):
            await primary.create_replication_role("limited", password=5)  # type: ignore[arg-type]
        assert not rows(cluster.primary, "SELECT FROM pg_roles WHERE rolname = 'limited'")


async def test_role_management_without_privileges_names_what_is_missing(
    cluster: Cluster, colour: Colour
) -> None:
    async with await colour.primary(conninfo_as(cluster.primary, "stranger")) as primary:
        with pytest.raises(pgreplkit.errors.InsufficientPrivilege) as caught:
            await primary.create_replication_role("by_stranger")
    needed = "CREATEROLE REPLICATION" if cluster.major >= 16 else "SUPERUSER"
    assert str(caught.value).endswith(f'ALTER ROLE "stranger" {needed}')
