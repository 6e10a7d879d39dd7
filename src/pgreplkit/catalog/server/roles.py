"""ReplicationRole: a role that may replicate, and the statements about roles."""

from datetime import datetime

import attrs

from pgreplkit.catalog.view import View, column
from pgreplkit.values.record import Record


@attrs.frozen(kw_only=True)
class ReplicationRole(Record):
    """A role that may open replication connections.

    Source: pg_roles and pg_auth_members.
    """

    rolname: str
    rolcanlogin: bool
    rolreplication: bool
    rolsuper: bool
    """A superuser may replicate without ``rolreplication``."""
    rolconnlimit: int
    """Its limit of concurrent connections; -1 without a limit. From 13 on replication connections
    do not count."""
    rolvaliduntil: datetime | None = attrs.field(
        metadata=column(
            sql="""CASE WHEN rolvaliduntil < '9999-12-31'
                THEN greatest(rolvaliduntil, '0001-01-03 00:00+00') END"""
        )
    )
    """The expiry of its password; None for never, or for a year that Python cannot represent."""
    is_monitor: bool = attrs.field(
        metadata=column(
            sql="""EXISTS (SELECT FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
                WHERE m.member = pg_roles.oid AND g.rolname = 'pg_monitor')"""
        )
    )
    """Whether the role is a direct member of pg_monitor."""
    connections: int = attrs.field(
        metadata=column(
            sql="(SELECT count(*) FROM pg_stat_activity a WHERE a.usesysid = pg_roles.oid)"
        )
    )
    """Its current connections, including walsenders."""


ROLES = View(
    ReplicationRole,
    "pg_roles WHERE (rolreplication OR rolsuper) AND rolname::text !~ '^pg_' ORDER BY rolname",
)
ONE_ROLE = View(ReplicationRole, "pg_roles WHERE rolname = %s::name")
# The roles that +name in pg_hba.conf checks: unlike pg_has_role(), which is true for superusers.
GROUPS = """
    WITH RECURSIVE groups (oid) AS (
        SELECT oid FROM pg_roles WHERE rolname = %s::name
        UNION SELECT m.roleid FROM pg_auth_members m JOIN groups ON m.member = groups.oid)
    SELECT rolname::text AS name FROM groups JOIN pg_roles USING (oid)
"""

# Statements about roles; {} stand for identifiers and checked values.
LOGIN_REPLICATION = "LOGIN REPLICATION CONNECTION LIMIT {}"
IN_MONITOR = "IN ROLE pg_monitor"
CREATE_ROLE = "CREATE ROLE {} {}"
CONNECTION_LIMIT = "CONNECTION LIMIT {}"
ALTER_ROLE = "ALTER ROLE {} {}"
DROP_ROLE = "DROP ROLE {}"
WITH_VERIFIER = "PASSWORD {}"
GRANT_MONITOR = "GRANT pg_monitor TO {}"
REVOKE_MONITOR = "REVOKE pg_monitor FROM {}"
