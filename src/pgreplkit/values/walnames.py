"""Names of the other files in pg_wal and in WAL archives, and a parser for all of them."""

import re
from typing import TypeAlias

import attrs

from pgreplkit._text import counted
from pgreplkit.errors import InvalidWalFileName
from pgreplkit.values.lsn import LSN
from pgreplkit.values.modelfield import ModelField
from pgreplkit.values.segment import AnySegmentSize, SegmentSize
from pgreplkit.values.walfile import WalFileName

_COMPRESSION = r"gz|lz4|zst|bz2|xz"
_NAME = re.compile(
    rf"""
    (?P<history>[0-9A-Fa-f]{{8}})\.history
    | (?P<file>[0-9A-Fa-f]{{24}})
      (?: \.(?P<offset>[0-9A-Fa-f]{{8}})\.backup
        | (?:\.(?P<inner>{_COMPRESSION}))? (?P<partial>\.partial)
      )?
    """,
    re.VERBOSE,
)
_COMPRESSED = re.compile(rf"(.*)\.({_COMPRESSION})", re.DOTALL)
_LONGEST = 64


def _check_compression(suffix: str) -> None:
    if suffix not in _COMPRESSION.split("|"):
        raise InvalidWalFileName(suffix, "the compression suffix is unknown")


@attrs.frozen
class PartialWalFileName(ModelField):
    """Name of an incomplete segment, ``….partial``.

    pg_receivewal writes such files, and so does a server at the end of an old timeline.
    ``compression`` is the suffix that pg_receivewal inserts, as in ``….gz.partial``.

    >>> str(PartialWalFileName(WalFileName.parse("000000010000000000000002")))
    '000000010000000000000002.partial'
    """

    wal_file: WalFileName
    compression: str | None = None

    def __attrs_post_init__(self) -> None:
        if self.compression is not None:
            _check_compression(self.compression)

    def __str__(self) -> str:
        middle = f".{self.compression}" if self.compression else ""
        return f"{self.wal_file}{middle}.partial"


@attrs.frozen
class BackupHistoryFileName(ModelField):
    """Name of a backup history file, ``….backup``, which describes a base backup.

    >>> name = parse_wal_name("000000010000000000000002.00000028.backup")
    >>> str(name.start_lsn)
    '0/2000028'
    """

    wal_file: WalFileName
    offset: int

    @property
    def start_lsn(self) -> LSN:
        """Position at which the backup's WAL starts."""
        return self.wal_file.lsn_at(self.offset)

    def __attrs_post_init__(self) -> None:
        self.wal_file.lsn_at(self.offset)

    def __str__(self) -> str:
        return f"{self.wal_file}.{self.offset:08X}.backup"


@attrs.frozen
class TimelineHistoryFileName(ModelField):
    """Name of a timeline history file, ``….history``.

    >>> str(TimelineHistoryFileName(3))
    '00000003.history'
    """

    timeline: int

    def __attrs_post_init__(self) -> None:
        if type(self.timeline) is not int:
            raise TypeError(f"a timeline must be an int, not {type(self.timeline).__name__}")
        if not 0 < self.timeline < 1 << 32:
            raise InvalidWalFileName(self.timeline, "the timeline is not between 1 and 2**32 - 1")

    def __str__(self) -> str:
        return f"{self.timeline:08X}.history"


@attrs.frozen
class CompressedWalName(ModelField):
    """Name of a compressed WAL file: one of the other names with a compression suffix.

    >>> name = parse_wal_name("000000010000000000000002.zst")
    >>> name.compression, str(name.name)
    ('zst', '000000010000000000000002')
    """

    name: WalFileName | PartialWalFileName | BackupHistoryFileName | TimelineHistoryFileName
    compression: str

    def __attrs_post_init__(self) -> None:
        _check_compression(self.compression)

    def __str__(self) -> str:
        return f"{self.name}.{self.compression}"


WalName: TypeAlias = (
    WalFileName
    | PartialWalFileName
    | BackupHistoryFileName
    | TimelineHistoryFileName
    | CompressedWalName
)


def parse_wal_name(text: str, *, segment_size: AnySegmentSize = SegmentSize.DEFAULT) -> WalName:
    """Parse a segment, .partial, .backup or .history name, possibly with a compression suffix.

    A name that ends in .gz, .lz4, .zst, .bz2 or .xz is returned as a CompressedWalName.

    >>> parse_wal_name("00000002.history")
    TimelineHistoryFileName(timeline=2)
    >>> parse_wal_name("000000010000000000000002.partial.gz").compression
    'gz'

    Raises:
        InvalidWalFileName: If the text is none of these names.
        TypeError: If it is not a str.
    """
    if not isinstance(text, str):
        raise TypeError(f"a WAL file name must be a str, not {type(text).__name__}")
    if len(text) > _LONGEST:
        raise InvalidWalFileName(text, f"it has {counted(len(text), 'character')}")
    compressed = _COMPRESSED.fullmatch(text)
    match = _NAME.fullmatch(compressed[1] if compressed else text)
    if match is None:
        raise InvalidWalFileName(text, "it is not a segment, .partial, .backup or .history name")
    name: WalFileName | PartialWalFileName | BackupHistoryFileName | TimelineHistoryFileName
    if match["history"]:
        name = TimelineHistoryFileName(int(match["history"], 16))
    else:
        name = wal_file = WalFileName.parse(match["file"], segment_size=segment_size)
        if match["offset"]:
            name = BackupHistoryFileName(wal_file, int(match["offset"], 16))
        elif match["partial"]:
            name = PartialWalFileName(wal_file, match["inner"])
    return CompressedWalName(name, compressed[2]) if compressed else name
