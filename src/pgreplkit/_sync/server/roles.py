# Generated from pgreplkit/_async/server/roles.py by `nox -s sync`. Do not edit.
"""Creation, change and removal of roles for replication."""

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
from pgreplkit.driver.statementlog import Secret
from pgreplkit.errors import AlreadyExists, NotAPrimary, RoleNotFound
from pgreplkit.values.rolename import checked_role_name

_STANDBY = {READ_ONLY_TRANSACTION: NotAPrimary}
_GONE = {UNDEFINED_OBJECT: RoleNotFound, **_STANDBY}
_THERE = {DUPLICATE_OBJECT: AlreadyExists, **_STANDBY}


def read_roles(link: Link) -> list[ReplicationRole]:
    """Return the roles that may replicate, by name."""
    records = link.all("read the roles", ROLES.sql(link.version.major))
    return [ROLES.read(record) for record in records]


def read_role(link: Link, name: str) -> ReplicationRole:
    """Return the role.

    Raises: RoleNotFound.
    """
    operation = f"read role {name!r}"
    for record in link.all(operation, ONE_ROLE.sql(link.version.major), [name]):
        return ONE_ROLE.read(record)
    raise RoleNotFound(operation, "the role does not exist")


def create_role(
    link: Link,
    name: str,
    *,
    password: str | None,
    connection_limit: int,
    monitor: bool,
) -> ReplicationRole:
    """Create a role with LOGIN and REPLICATION, and return it."""
    checked_role_name(name)
    limit = Literal(_checked_limit(connection_limit))
    options: list[Composable] = [
        SQL(LOGIN_REPLICATION).format(limit),
        *_password(link, name, password),
        *([SQL(IN_MONITOR)] if monitor else []),
    ]
    statement = SQL(CREATE_ROLE).format(Identifier(checked_role_name(name)), SQL(" ").join(options))
    operation = f"create role {name!r}"
    link.run(operation, statement, grant=_needed_privilege(link), meaning=_THERE)
    return read_role(link, name)


def alter_role(
    link: Link,
    name: str,
    *,
    password: str | None,
    connection_limit: int | None,
    monitor: bool | None,
) -> ReplicationRole:
    """Alter a role and its membership in pg_monitor in one transaction, and return it."""
    # A typo in the name must not change the password of another user.
    operation = f"alter role {name!r}"
    _check_replication(link, name, operation)
    role = Identifier(name)
    # None leaves a property as it is.
    options = _password(link, name, password)
    if connection_limit is not None:
        limit = Literal(_checked_limit(connection_limit))
        options.append(SQL(CONNECTION_LIMIT).format(limit))
    # GRANT and ALTER ROLE run in one transaction: after an error the role is unchanged.
    statements = []
    if options:
        statements.append(SQL(ALTER_ROLE).format(role, SQL(" ").join(options)))
    if monitor is not None:
        words = GRANT_MONITOR if monitor else REVOKE_MONITOR
        statements.append(SQL(words).format(role))
    link.run(operation, *statements, grant=_needed_privilege(link), meaning=_GONE)
    return read_role(link, name)


def drop_role(link: Link, name: str) -> None:
    """Drop a role."""
    operation = f"drop role {name!r}"
    _check_replication(link, name, operation)
    statement = SQL(DROP_ROLE).format(Identifier(name))
    link.run(operation, statement, grant=_needed_privilege(link), meaning=_GONE)


def _check_replication(link: Link, name: str, operation: str) -> None:
    if not (read_role(link, checked_role_name(name))).rolreplication:
        found = "the role does not have the attribute REPLICATION"
        remedy = "check its name, or run ALTER ROLE … REPLICATION first"
        raise RoleNotFound(operation, found, remedy=remedy)


def _needed_privilege(link: Link) -> str:
    # Before 16 only superusers may create or alter roles with REPLICATION.
    return "CREATEROLE REPLICATION" if link.has("role.createrole_replication") else "SUPERUSER"


def _checked_limit(limit: int) -> int:
    if type(limit) is not int or limit < -1:
        raise ValueError(f"connection_limit must be an int >= -1, not {limit!r}")
    return limit


def _password(link: Link, name: str, password: str | None) -> list[Composable]:
    if password is None:
        return []
    if not isinstance(password, str):
        raise TypeError(f"password must be a str, not {type(password).__name__}")
    if not password or "\0" in password:
        raise ValueError("password must not be empty or contain NUL")
    # The password is hashed here, so that it is neither sent to the server nor logged there.
    try:
        secret = password.encode()
    except UnicodeEncodeError:
        # The text of the UnicodeEncodeError would contain the password.
        raise ValueError("password must not contain a lone surrogate") from None
    with translate_errors(f"hash the password of {name!r}"):
        verifier = link.connection.pgconn.encrypt_password(secret, name.encode(), b"scram-sha-256")
    return [SQL(WITH_VERIFIER).format(Secret(verifier.decode()))]
