"""The SQL that makes, moves, reads and drops slots, and what decoding gives."""

from __future__ import annotations

import attrs

from pgreplkit.catalog.view import View, lives
from pgreplkit.values.lsn import LSN

CREATE_PHYSICAL = """
    SELECT lsn FROM pg_create_physical_replication_slot(%s::name, %s::boolean, %s::boolean)
"""
DROP = "SELECT pg_drop_replication_slot(%s::name)"
ADVANCE = "SELECT end_lsn FROM pg_replication_slot_advance(%s::name, %s::pg_lsn)"
COPY_PHYSICAL = "SELECT lsn FROM pg_copy_physical_replication_slot(%s::name, %s::name, %s::boolean)"
COPY_LOGICAL = """
    SELECT lsn FROM pg_copy_logical_replication_slot(
        %s::name, %s::name, %s::boolean, %s::name)
"""
END_PROCESS = """
    SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots
    WHERE slot_name = %s::name AND active_pid = %s::int AND active_pid <> pg_backend_pid()
"""
USED_BY = """
    SELECT active_pid AS pid, application_name,
        CASE WHEN backend_start IS NULL THEN 'an address that this role may not see'
            ELSE host(client_addr) END AS client_addr
    FROM pg_replication_slots LEFT JOIN pg_stat_activity ON pid = active_pid
    WHERE slot_name = %s::name
"""
TROUBLE = """
    SELECT slot_type, database, current_database() AS here, to_jsonb(s) ->> 'wal_status' AS status,
        to_jsonb(s) ->> 'invalidation_reason' AS reason
    FROM pg_replication_slots AS s WHERE slot_name = %s::name
"""
"""What may keep a slot from being streamed; a column that the major lacks is NULL."""
_CREATE_LOGICAL = "SELECT lsn FROM pg_create_logical_replication_slot({})"


def create_logical(major: int) -> str:
    """The statement, with as many parameters as the major takes."""
    types = ["name", "name", "boolean"]
    types += ["boolean"] * ((major >= 14) + (major >= 17))
    return _CREATE_LOGICAL.format(", ".join(f"%s::{kind}" for kind in types))


@attrs.frozen(kw_only=True)
class SlotChange:
    """One change as an output plugin wrote it."""

    lsn: LSN
    xid: int = attrs.field(metadata=lives(sql="xid::text::bigint"))
    data: bytes

    @property
    def text(self) -> str:
        """The data as text, for plugins that write text, as test_decoding and wal2json do.

        A byte that is not UTF-8, from a database in another encoding, is shown escaped.
        """
        return self.data.decode("utf-8", "backslashreplace")


_CHANGES = "{}(%s::name, %s::pg_lsn, %s::int, VARIADIC %s::text[])"
PEEK = View(SlotChange, _CHANGES.format("pg_logical_slot_peek_binary_changes"))
CONSUME = View(SlotChange, _CHANGES.format("pg_logical_slot_get_binary_changes"))
