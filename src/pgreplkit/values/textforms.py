"""The value types that are written as text, and the functions that read this text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import attrs

from pgreplkit.values.lsn import LSN
from pgreplkit.values.segment import AnySegmentSize, SegmentSize, segment_size_of
from pgreplkit.values.syncnames import SyncStandbyNames
from pgreplkit.values.tablename import TableName
from pgreplkit.values.threshold import Threshold
from pgreplkit.values.version import ServerVersion
from pgreplkit.values.walfile import WalFileName
from pgreplkit.values.walnames import (
    BackupHistoryFileName,
    CompressedWalName,
    PartialWalFileName,
    TimelineHistoryFileName,
    parse_wal_name,
)

T = TypeVar("T")


@attrs.frozen
class TextForm:
    """The text of a value type."""

    parse: Callable[[str], object]
    """Reads the text that ``str()`` of a value returns."""
    example: str
    """A valid text, which documents the type in a JSON schema."""


def text_forms(segment_size: AnySegmentSize = SegmentSize.DEFAULT) -> Mapping[type, TextForm]:
    """Return the value types that are written as text; WAL files have the given segment size."""
    size, name = segment_size_of(segment_size), "0000000100000004000000DF"

    def wal_name(kind: type[T]) -> Callable[[str], T]:
        def parse(text: str) -> T:
            found = parse_wal_name(text, segment_size=size)
            if not isinstance(found, kind):
                raise ValueError(f"expected a {kind.__name__}, got a {type(found).__name__}")
            return found

        return parse

    return {
        LSN: TextForm(LSN, "16/B374D848"),
        WalFileName: TextForm(wal_name(WalFileName), name),
        PartialWalFileName: TextForm(wal_name(PartialWalFileName), f"{name}.partial"),
        BackupHistoryFileName: TextForm(wal_name(BackupHistoryFileName), f"{name}.00000028.backup"),
        TimelineHistoryFileName: TextForm(wal_name(TimelineHistoryFileName), "00000002.history"),
        CompressedWalName: TextForm(wal_name(CompressedWalName), f"{name}.gz"),
        ServerVersion: TextForm(ServerVersion, "18.4"),
        TableName: TextForm(TableName.parse, "public.users"),
        SyncStandbyNames: TextForm(SyncStandbyNames.parse, "ANY 1 (db2, db3)"),
        Threshold: TextForm(Threshold.parse, "10:20"),
    }
