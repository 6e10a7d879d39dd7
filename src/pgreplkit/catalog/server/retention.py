"""Facts about the WAL that a server retains: limits, the archiver, and the files in pg_wal."""

from datetime import datetime

import attrs

from pgreplkit.catalog.features import has
from pgreplkit.catalog.server.expressions import CURRENT_LSN, MAJOR, SEGMENT_BYTES, setting_of
from pgreplkit.catalog.server.identity import TIMELINE
from pgreplkit.catalog.view import View, column, sized
from pgreplkit.values.lsn import LSN
from pgreplkit.values.record import Record
from pgreplkit.values.segment import SegmentSize


@attrs.frozen(kw_only=True)
class ArchiverStatus(Record):
    """The state of the archiver.

    Source: pg_stat_archiver, pg_ls_archive_statusdir() (before 12 pg_ls_dir()).
    """

    archive_mode: str = attrs.field(metadata=column(sql=setting_of("archive_mode")))
    archived_count: int
    last_archived_wal: str | None
    last_archived_time: datetime | None
    failed_count: int
    last_failed_wal: str | None
    last_failed_time: datetime | None

    @property
    def is_failing(self) -> bool:
        """Whether the last attempt to archive failed."""
        if self.last_failed_time is None:
            return False
        return self.last_archived_time is None or self.last_failed_time > self.last_archived_time


@attrs.frozen(kw_only=True)
class KeptWal:
    """The configured limits, and the files in pg_wal."""

    current_lsn: LSN = attrs.field(metadata=column(sql=CURRENT_LSN))
    timeline: int = attrs.field(metadata=column(sql=f"({TIMELINE})"))
    segment_size: SegmentSize = attrs.field(converter=sized, metadata=column(sql=SEGMENT_BYTES))
    redo_lsn: LSN = attrs.field(
        metadata=column(sql="(SELECT redo_lsn FROM pg_control_checkpoint())")
    )
    wal_keep_bytes: int = attrs.field(
        metadata=column(
            sql=f"{setting_of('wal_keep_size')}::bigint * 1048576",
            before=13,
            older_sql=f"{setting_of('wal_keep_segments')}::bigint * {SEGMENT_BYTES}",
        )
    )
    max_slot_wal_keep_mb: int | None = attrs.field(
        default=None,
        metadata=column(since=13, sql=f"{setting_of('max_slot_wal_keep_size')}::bigint"),
    )
    freeze_max_age: int = attrs.field(
        metadata=column(sql=f"{setting_of('autovacuum_freeze_max_age')}::bigint")
    )
    server_major: int = attrs.field(metadata=column(sql=MAJOR))
    directory_bytes: int = attrs.field(
        metadata=column(sql="(SELECT coalesce(sum(size), 0)::bigint FROM pg_ls_waldir())")
    )
    oldest_segment: str | None = attrs.field(
        metadata=column(
            sql="""(SELECT pg_catalog.min(pg_catalog.substr(name, 9)) FROM pg_ls_waldir()
                WHERE name::text ~ '^[0-9A-F]{24}$')"""
        )
    )
    """The oldest file's name without its timeline."""
    observed_at: datetime = attrs.field(metadata=column(sql="clock_timestamp()"))

    @property
    def max_slot_wal_keep_size(self) -> int | None:
        """The limit in bytes; None without a limit."""
        megabytes = self.max_slot_wal_keep_mb
        return None if megabytes is None or megabytes < 0 else megabytes << 20


IN_EXCLUSIVE_BACKUP = "SELECT pg_is_in_backup() AS is_so"
"""Exclusive backups exist until 14."""
KEPT_WAL = View(KeptWal, "(SELECT) AS one")
ARCHIVER = View(ArchiverStatus, "pg_stat_archiver")
POSITION_NOW = f"SELECT {CURRENT_LSN} AS lsn, clock_timestamp() AS at"


def ready_files(major: int) -> str:
    """Return the SELECT for the files that wait to be archived, oldest segments first.

    Besides segments, the server archives timeline histories, backup histories, and the partial
    segment at the end of an old timeline.
    """
    source = (
        "pg_ls_archive_statusdir()"
        if has("archive.statusdir", major)
        else "pg_ls_dir('pg_wal/archive_status', true, false) AS name"
    )
    segment, history = r"[0-9A-F]{24}(\.partial|\.[0-9A-F]{8}\.backup)?", r"[0-9A-F]{8}\.history"
    return f"""
        SELECT pg_catalog.regexp_replace(name, '\\.ready$', '') AS name FROM {source}
        WHERE name::text ~ '^({segment}|{history})\\.ready$'
        ORDER BY name::text ~ 'history', pg_catalog.substr(name, 9, 16), name
    """
