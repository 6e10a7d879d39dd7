"""Writers: who may write tables, and who is writing them."""

from __future__ import annotations

from datetime import timedelta

import attrs

from pgreplkit.values.tablename import TableName, quoted


@attrs.frozen(kw_only=True)
class WriteGrant:
    """What a role may write of a table, by a grant that can be taken back."""

    table: TableName
    role: str | None
    """None for PUBLIC: everyone."""
    privilege: str
    """INSERT, UPDATE, DELETE or TRUNCATE."""
    columns: tuple[str, ...] = attrs.field(converter=tuple)
    """The columns that it is for; none for the whole table."""
    is_grantable: bool
    """Whether the role may grant it on."""

    @property
    def revoke_sql(self) -> str:
        """The statement that takes it back."""
        return f"REVOKE {self._what} FROM {self._whom} CASCADE"

    @property
    def grant_sql(self) -> str:
        """The statement that gives it again."""
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
class WritingSession:
    """A session that holds a lock for writing on one of the tables."""

    table: TableName
    pid: int
    role: str | None
    application_name: str | None
    age: timedelta | None
    """How long its transaction is open."""


@attrs.frozen(kw_only=True)
class Writers:
    """Who may write tables, and who is about it.

    Source: pg_class.relacl, pg_attribute.attacl, pg_roles, pg_locks.
    """

    tables: tuple[TableName, ...]
    """The tables that were looked at, with their partitions and the tables above them."""
    grants: tuple[WriteGrant, ...]
    """What can be taken back."""
    unstoppable: tuple[str, ...]
    """Roles that may write whatever is granted: superusers, the tables' owners, and from 14 on
    members of pg_write_all_data. As owners the server itself applies changes, from 16 on."""
    sessions: tuple[WritingSession, ...]
    """Sessions that are writing now; the workers of subscriptions are none."""

    @property
    def revoke_sql(self) -> tuple[str, ...]:
        """The statements that take all grants back."""
        return tuple(grant.revoke_sql for grant in self.grants)

    @property
    def restore_sql(self) -> tuple[str, ...]:
        """The statements that give them again: keep them until then."""
        return tuple(grant.grant_sql for grant in self.grants)


_ASKED = """
    pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    JOIN unnest(%s::text[], %s::text[]) AS asked (schema, name)
        ON nspname = asked.schema AND relname = asked.name
"""
WITH_PARTITIONS = f"""
    WITH RECURSIVE given AS (
        SELECT pg_class.oid FROM {_ASKED} WHERE relkind IN ('r', 'p')
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
"""The tables, and all through which their rows can be written: tables above, and partitions."""
_WRITES = "privilege_type IN ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE')"
GRANTS = f"""
    SELECT nspname, relname, rolname AS role, privilege_type AS privilege,
        '{{}}'::text[] AS columns, bool_or(is_grantable) AS is_grantable
    FROM {_ASKED} CROSS JOIN aclexplode(relacl) LEFT JOIN pg_roles ON pg_roles.oid = grantee
    WHERE grantee <> relowner AND {_WRITES}
    GROUP BY 1, 2, 3, 4
    UNION ALL
    SELECT nspname, relname, rolname, privilege_type, array_agg(DISTINCT attname::text),
        bool_or(is_grantable)
    FROM {_ASKED} JOIN pg_attribute ON attrelid = pg_class.oid
    CROSS JOIN aclexplode(attacl) LEFT JOIN pg_roles ON pg_roles.oid = grantee
    WHERE grantee <> relowner AND {_WRITES}
    GROUP BY 1, 2, 3, 4
    ORDER BY 1, 2, 3, 4, 5
"""
SESSIONS = f"""
    SELECT DISTINCT nspname, relname, pid, usename AS role, application_name,
        clock_timestamp() - xact_start AS age
    FROM {_ASKED} JOIN pg_locks ON relation = pg_class.oid
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock',
            'AccessExclusiveLock')
    JOIN pg_stat_activity USING (pid)
    WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'
    ORDER BY 1, 2, 3
"""


def unstoppable(major: int) -> str:
    """Roles that may log in and write the tables whatever is granted."""
    member = "OR pg_has_role(pg_roles.oid, 'pg_write_all_data', 'MEMBER')" if major >= 14 else ""
    return f"""
        SELECT rolname AS role FROM pg_roles
        WHERE rolcanlogin AND (rolsuper {member} OR EXISTS (
            SELECT FROM {_ASKED} WHERE pg_has_role(pg_roles.oid, relowner, 'MEMBER')))
        ORDER BY 1
    """
