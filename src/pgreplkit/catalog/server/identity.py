"""The SQL that reads a server's identity, and how to read its answer."""

from __future__ import annotations

from datetime import datetime

import attrs


def unsigned_system_id(number: int) -> int:
    """Return the system identifier, which has 64 bits and which SQL shows as a signed number."""
    return number % (1 << 64)


# With the system identifier, the start time identifies a running server: no two servers of one
# system start in the same microsecond, and a crash of a backend leaves it as it is. Any role can
# read both on all major versions, through any address, socket or pooler. inet_server_addr() and
# inet_server_port() depend on the connection, the timeline changes with a promotion, and
# data_directory is hidden from most roles, and equal on most hosts. Two cases are not recognized:
# a server that restarts between two reads counts as two, and a virtual machine that was copied
# with its memory counts as one until either server restarts.
START_TIME = "pg_postmaster_start_time()"
STARTED = f"SELECT {START_TIME} AS started"
POSTMASTER_FILE = "postmaster.pid"
POSTMASTER = f"SELECT pg_read_binary_file('{POSTMASTER_FILE}') AS content"
IN_RECOVERY = "SELECT pg_is_in_recovery() AS in_recovery"
SEGMENT_SIZE = "SELECT bytes_per_wal_segment AS size FROM pg_control_init()"

# The control file keeps a promoted primary's old timeline until its next checkpoint; the name of
# its current file has the new one at once. A standby follows a switch before its next restartpoint.
TIMELINE = """
    SELECT CASE WHEN pg_is_in_recovery()
        THEN greatest(
            (SELECT timeline_id FROM pg_control_checkpoint()),
            (SELECT min_recovery_end_timeline FROM pg_control_recovery()),
            (SELECT received_tli FROM pg_stat_wal_receiver))::bigint
        ELSE ('x' || pg_catalog.left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint
        END AS timeline
"""
# Without a walreceiver, a standby reports a timeline switch only after its next restartpoint; the
# name of the file in which its WAL ends shows it at once. Reading the names needs pg_monitor. With
# a walreceiver, the names do not count: pg_rewind may leave a file of a timeline that was given up.
REACHED_TIMELINE = f"""
    SELECT coalesce((SELECT received_tli FROM pg_stat_wal_receiver), greatest(({TIMELINE}), (
        SELECT pg_catalog.max(('x' || pg_catalog.left(name, 8))::bit(32)::bigint)
        FROM pg_ls_waldir(), pg_control_init(), LATERAL (
            SELECT greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) - '0/0' AS bytes
        ) AS here
        WHERE pg_is_in_recovery() AND name::text ~ '^[0-9A-F]{{24}}$'
            AND ('x' || pg_catalog.substr(name, 9, 8))::bit(32)::bigint
                * (4294967296 / bytes_per_wal_segment::bigint)
                + ('x' || pg_catalog.substr(name, 17, 8))::bit(32)::bigint
                = div(bytes - 1::numeric, bytes_per_wal_segment::numeric)::bigint
    )))::bigint AS timeline
"""
IDENTITY = f"""
    SELECT system_identifier AS system_id, ({TIMELINE}) AS timeline,
        CASE WHEN pg_is_in_recovery()
            THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
            ELSE pg_current_wal_flush_lsn() END AS position,
        current_database()::text AS database
    FROM pg_control_system()
"""
# The file name, such as 00000003.history, is built from the timeline.
HISTORY = """
    SELECT pg_read_binary_file(
        'pg_wal/' || pg_catalog.upper(lpad(to_hex(%s::bigint), 8, '0')) || '.history') AS content
"""


@attrs.frozen(kw_only=True)
class RunningDatabase:
    """A database of a running server."""

    system_id: str
    started_at: datetime
    in_recovery: bool
    timeline: int
    database: str


DATABASE = f"""
    SELECT system_identifier::text AS system_id, {START_TIME} AS started_at,
        pg_is_in_recovery() AS in_recovery, ({TIMELINE}) AS timeline,
        current_database()::text AS database
    FROM pg_catalog.pg_control_system()
"""
