# Generated from pgreplkit/_async/server/roles.py by `nox -s sync`. Do not edit.
"""Making, changing and dropping the roles that replicate."""

from __future__ import annotations

from psycopg.sql import SQL, Composable, Identifier, Literal

from pgreplkit._sync.wire.link import Link
from pgreplkit.catalog.server.roles import (
    ALTER_ROLE,
    CONNECTION_LIMIT,
    CREATE_ROLE,
    DROP_ROLE,
    GRANT_MONITOR,
    IN_MONITOR,
    LOGIN_REPLICATION,
    ONE_ROLE,
    REVOKE_MONITOR,
    ROLES,
    WITH_VERIFIER,
    ReplicationRole,
)
from pgreplkit.driver.failures import (
    DUPLICATE_OBJECT,
    READ_ONLY_TRANSACTION,
    UNDEFINED_OBJECT,
    translate_errors,
)
from pgreplkit.errors import AlreadyExists, NotAPrimary, RoleNotFound
from pgreplkit.values.rolename import checked_role_name

_STANDBY = {READ_ONLY_TRANSACTION: NotAPrimary}
_GONE = {UNDEFINED_OBJECT: RoleNotFound, **_STANDBY}
_THERE = {DUPLICATE_OBJECT: AlreadyExists, **_STANDBY}


def read_roles(link: Link) -> list[ReplicationRole]:
    """All that may replicate, by name."""
    records = link.all("read the roles", ROLES.sql(link.version.major))
    return [ROLES.read(record) for record in records]


def read_role(link: Link, name: str) -> ReplicationRole:
    """The role of that name.

    Raises: RoleNotFound.
    """
    tried = f"read the role {name!r}"
    for record in link.all(tried, ONE_ROLE.sql(link.version.major), [name]):
        return ONE_ROLE.read(record)
    raise RoleNotFound(tried, "there is no role of that name")


def create_role(
    link: Link,
    name: str,
    *,
    password: str | None,
    connection_limit: int,
    monitor: bool,
) -> ReplicationRole:
    """CREATE ROLE … LOGIN REPLICATION."""
    checked_role_name(name)
    limit = Literal(_checked_limit(connection_limit))
    options: list[Composable] = [
        SQL(LOGIN_REPLICATION).format(limit),
        *_password(link, name, password),
        *([SQL(IN_MONITOR)] if monitor else []),
    ]
    statement = SQL(CREATE_ROLE).format(Identifier(checked_role_name(name)), SQL(" ").join(options))
    tried = f"create the role {name!r}"
    link.run(tried, statement, grant=_needed(link), meaning=_THERE)
    return read_role(link, name)


def alter_role(
    link: Link,
    name: str,
    *,
    password: str | None,
    connection_limit: int | None,
    monitor: bool | None,
) -> ReplicationRole:
    """ALTER ROLE, in one transaction with the membership in pg_monitor."""
    tried = f"alter the role {name!r}"
    _insist_on_replication(link, name, tried)
    role = Identifier(name)
    options = _password(link, name, password)
    if connection_limit is not None:
        limit = Literal(_checked_limit(connection_limit))
        options.append(SQL(CONNECTION_LIMIT).format(limit))
    statements = []
    if options:
        statements.append(SQL(ALTER_ROLE).format(role, SQL(" ").join(options)))
    if monitor is not None:
        words = GRANT_MONITOR if monitor else REVOKE_MONITOR
        statements.append(SQL(words).format(role))
    link.run(tried, *statements, grant=_needed(link), meaning=_GONE)
    return read_role(link, name)


def drop_role(link: Link, name: str) -> None:
    """DROP ROLE."""
    tried = f"drop the role {name!r}"
    _insist_on_replication(link, name, tried)
    link.run(tried, SQL(DROP_ROLE).format(Identifier(name)), grant=_needed(link), meaning=_GONE)


def _insist_on_replication(link: Link, name: str, tried: str) -> None:
    if not (read_role(link, checked_role_name(name))).rolreplication:
        raise RoleNotFound(tried, "the role of that name is none for replication")


def _needed(link: Link) -> str:
    return "CREATEROLE REPLICATION" if link.version.major >= 16 else "SUPERUSER"


def _checked_limit(limit: int) -> int:
    if type(limit) is not int or limit < -1:
        raise ValueError(f"a connection limit is an int from -1 on, not {limit!r}")
    return limit


def _password(link: Link, name: str, password: str | None) -> list[Composable]:
    if password is None:
        return []
    if not isinstance(password, str):
        raise TypeError(f"a password is a str, not {type(password).__name__}")
    if not password or "\0" in password:
        raise ValueError("a password is not empty, and has no NUL in it")
    # Hashed here, so that the password is neither sent nor logged by the server.
    try:
        secret = password.encode()
    except UnicodeEncodeError:
        # The error would repeat the password.
        raise ValueError("a password has half of a surrogate pair in it") from None
    with translate_errors(f"hash the password of {name!r}"):
        verifier = link.connection.pgconn.encrypt_password(secret, name.encode(), b"scram-sha-256")
    return [SQL(WITH_VERIFIER).format(Literal(verifier.decode()))]
