"""Writers: the roles that may write to tables, and the sessions that do."""

from datetime import timedelta

import attrs

from pgreplkit.catalog.features import has
from pgreplkit.catalog.view import ASKED_TABLES
from pgreplkit.values.record import Record
from pgreplkit.values.tablename import TableName, quoted


@attrs.frozen(kw_only=True)
class WriteGrant(Record):
    """A write privilege of a role on a table, which can be revoked."""

    table: TableName
    role: str | None
    """None for PUBLIC, which is every role."""
    privilege: str
    """INSERT, UPDATE, DELETE or TRUNCATE."""
    columns: tuple[str, ...] = attrs.field(converter=tuple)
    """The columns of a column privilege; empty for the whole table."""
    is_grantable: bool
    """Whether the role may grant it to others."""

    @property
    def revoke_sql(self) -> str:
        """The statement that revokes the privilege."""
        return f"REVOKE {self._what} FROM {self._whom} CASCADE"

    @property
    def grant_sql(self) -> str:
        """The statement that grants the privilege again."""
        option = " WITH GRANT OPTION" if self.is_grantable else ""
        return f"GRANT {self._what} TO {self._whom}{option}"

    @property
    def _what(self) -> str:
        columns = ", ".join(map(quoted, self.columns))
        of = f" ({columns})" if columns else ""
        return f"{self.privilege}{of} ON TABLE {self.table}"

    @property
    def _whom(self) -> str:
        return "PUBLIC" if self.role is None else quoted(self.role)


@attrs.frozen(kw_only=True)
class WritingSession(Record):
    """A session that holds a write lock on one of the tables."""

    table: TableName
    pid: int
    role: str | None
    application_name: str | None
    age: timedelta | None
    """The age of its transaction."""


@attrs.frozen(kw_only=True)
class Writers(Record):
    """The roles that may write to tables, and the sessions that are writing.

    Source: pg_class.relacl, pg_attribute.attacl, pg_roles, pg_locks.
    """

    tables: tuple[TableName, ...]
    """The tables that were checked, with their partitions and parents."""
    grants: tuple[WriteGrant, ...]
    """The privileges that can be revoked."""
    unstoppable: tuple[str, ...]
    """Roles that may write without a grant: superusers, the tables' owners, and members of
    pg_write_all_data (14 on). Subscriptions apply changes as the tables' owners (16 on)."""
    sessions: tuple[WritingSession, ...]
    """Sessions that are writing now, without the workers of subscriptions."""

    @property
    def revoke_sql(self) -> tuple[str, ...]:
        """The statements that revoke all privileges."""
        return tuple(grant.revoke_sql for grant in self.grants)

    @property
    def restore_sql(self) -> tuple[str, ...]:
        """The statements that grant them again; store them before you revoke."""
        return tuple(grant.grant_sql for grant in self.grants)


WITH_PARTITIONS = f"""
    WITH RECURSIVE given AS (
        SELECT pg_class.oid FROM {ASKED_TABLES} WHERE relkind IN ('r', 'p')
    ), above AS (
        SELECT oid FROM given
        UNION SELECT inhparent FROM above JOIN pg_inherits ON inhrelid = above.oid
    ), below AS (
        SELECT oid FROM given
        UNION SELECT inhrelid FROM below JOIN pg_inherits ON inhparent = below.oid
    )
    SELECT nspname, relname FROM (SELECT oid FROM above UNION SELECT oid FROM below) AS own
    JOIN pg_class ON pg_class.oid = own.oid
    JOIN pg_namespace ON pg_namespace.oid = relnamespace
    ORDER BY 1, 2
"""
"""The tables, with all tables through which their rows can be written: parents and
partitions."""
_WRITES = "privilege_type IN ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE')"
GRANTS = f"""
    SELECT nspname, relname, rolname AS role, privilege_type AS privilege,
        '{{}}'::text[] AS columns, bool_or(is_grantable) AS is_grantable
    FROM {ASKED_TABLES} CROSS JOIN pg_catalog.aclexplode(relacl)
    LEFT JOIN pg_roles ON pg_roles.oid = grantee
    WHERE grantee <> relowner AND {_WRITES}
    GROUP BY 1, 2, 3, 4
    UNION ALL
    SELECT nspname, relname, rolname, privilege_type, pg_catalog.array_agg(DISTINCT attname::text),
        bool_or(is_grantable)
    FROM {ASKED_TABLES} JOIN pg_attribute ON attrelid = pg_class.oid
    CROSS JOIN pg_catalog.aclexplode(attacl) LEFT JOIN pg_roles ON pg_roles.oid = grantee
    WHERE grantee <> relowner AND {_WRITES}
    GROUP BY 1, 2, 3, 4
    ORDER BY 1, 2, 3, 4, 5
"""
SESSIONS = f"""
    SELECT DISTINCT nspname, relname, pid, usename AS role, application_name,
        clock_timestamp() - xact_start AS age
    FROM {ASKED_TABLES} JOIN pg_locks ON relation = pg_class.oid
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock',
            'AccessExclusiveLock')
    JOIN pg_stat_activity USING (pid)
    WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'
    ORDER BY 1, 2, 3
"""


def unstoppable(major: int) -> str:
    """Return the statement for login roles that may write to the tables without a grant."""
    member = ""
    if has("role.write_all_data", major):
        member = "OR pg_catalog.pg_has_role(pg_roles.oid, 'pg_write_all_data', 'MEMBER')"
    return f"""
        SELECT rolname AS role FROM pg_roles
        WHERE rolcanlogin AND (rolsuper {member} OR EXISTS (
            SELECT FROM {ASKED_TABLES} WHERE pg_catalog.pg_has_role(pg_roles.oid, relowner,
                'MEMBER')))
        ORDER BY 1
    """
