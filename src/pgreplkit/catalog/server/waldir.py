"""WalFile: the segments in pg_wal."""

from collections.abc import Mapping
from datetime import datetime

import attrs

from pgreplkit.catalog.server.expressions import SEGMENT_BYTES
from pgreplkit.values.record import Record
from pgreplkit.values.segment import SegmentSize
from pgreplkit.values.walfile import WalFileName


@attrs.frozen
class WalFile(Record):
    """A segment in pg_wal: its name, its size in bytes, and the time of its last change.

    Recycled segments have names ahead of the current one.

    Source: pg_ls_waldir().
    """

    name: WalFileName
    size: int
    modification: datetime


_SEGMENT_SIZE = f"{SEGMENT_BYTES} AS segment_size"

WAL_FILES = f"""
    SELECT name, size, modification, {_SEGMENT_SIZE}
    FROM pg_ls_waldir() WHERE name::text ~ '^[0-9A-F]{{24}}$' ORDER BY name
"""
CURRENT_WAL_FILE = f"SELECT pg_walfile_name(pg_current_wal_lsn()) AS name, {_SEGMENT_SIZE}"
WAL_FILE = f"SELECT pg_walfile_name(%s::pg_lsn) AS name, {_SEGMENT_SIZE}"


def wal_file_in(record: Mapping[str, object]) -> WalFileName:
    """Return the file name in a record of one of the statements above."""
    size = SegmentSize.parse(f"{record['segment_size']}B")
    return WalFileName.parse(str(record["name"]), segment_size=size)
