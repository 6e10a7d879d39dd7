"""BackupLabel: the start position of a base backup, parsed from its backup_label."""

import re

import attrs

from pgreplkit.errors import InvalidBackupLabel, InvalidValue
from pgreplkit.values.lsn import LSN
from pgreplkit.values.record import Record
from pgreplkit.values.segment import AnySegmentSize, SegmentSize, segment_size_of
from pgreplkit.values.walfile import WalFileName

_LOCATION = re.compile(r"([0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}) \(file ([0-9A-Fa-f]{24})\)")
_LAST_FIELDS = ("START TIMELINE", "STOP TIME", "STOP TIMELINE", "INCREMENTAL FROM")


@attrs.frozen(kw_only=True)
class BackupLabel(Record):
    """Contents of a backup_label, or of the ``….backup`` file written when a backup ends.

    >>> label = BackupLabel.parse('''START WAL LOCATION: 0/2000028 (file 000000010000000000000002)
    ... CHECKPOINT LOCATION: 0/2000060
    ... BACKUP METHOD: streamed
    ... BACKUP FROM: primary
    ... START TIME: 2026-11-23 20:00:00 UTC
    ... LABEL: nightly
    ... START TIMELINE: 1
    ... ''')
    >>> str(label.start_lsn), str(label.start_wal_file), label.label
    ('0/2000028', '000000010000000000000002', 'nightly')

    Times remain text: the server writes them with the abbreviation of its time zone, which is
    ambiguous. Fields that the file lacks are None: only a ``….backup`` file has the ``stop_…``
    fields, and only an incremental backup (17 and later) has the ``incremental_…`` fields.

    Source:
        backup_label, pg_backup_stop(), ``….backup``.
    """

    start_lsn: LSN
    start_wal_file: WalFileName
    checkpoint_lsn: LSN
    backup_method: str | None = None
    backup_from: str | None = None
    start_time: str | None = None
    label: str | None = None
    start_timeline: int | None = None
    stop_lsn: LSN | None = None
    stop_wal_file: WalFileName | None = None
    stop_time: str | None = None
    stop_timeline: int | None = None
    incremental_from_lsn: LSN | None = None
    incremental_from_timeline: int | None = None

    @classmethod
    def parse(
        cls, text: str, *, segment_size: AnySegmentSize = SegmentSize.DEFAULT
    ) -> "BackupLabel":
        """Parse the text of a backup_label or ``….backup`` file.

        Raises:
            InvalidBackupLabel: If a required line is missing or a value is malformed.
            InvalidSegmentSize: If ``segment_size`` is not a valid size.
            TypeError: If ``text`` is not a str.
        """
        if not isinstance(text, str):
            raise TypeError(f"a backup label must be a str, not {type(text).__name__}")
        size, fields = segment_size_of(segment_size), _fields(text)
        try:
            start_lsn, start_file = _location(fields["START WAL LOCATION"], size)
            stop = fields.get("STOP WAL LOCATION")
            stop_lsn, stop_file = _location(stop, size) if stop else (None, None)
            since = fields.get("INCREMENTAL FROM LSN")
            return cls(
                start_lsn=start_lsn,
                start_wal_file=start_file,
                checkpoint_lsn=LSN(fields["CHECKPOINT LOCATION"]),
                backup_method=fields.get("BACKUP METHOD"),
                backup_from=fields.get("BACKUP FROM"),
                start_time=fields.get("START TIME"),
                label=fields.get("LABEL"),
                start_timeline=_timeline(fields.get("START TIMELINE")),
                stop_lsn=stop_lsn,
                stop_wal_file=stop_file,
                stop_time=fields.get("STOP TIME"),
                stop_timeline=_timeline(fields.get("STOP TIMELINE")),
                incremental_from_lsn=LSN(since) if since else None,
                incremental_from_timeline=_timeline(fields.get("INCREMENTAL FROM TLI")),
            )
        except KeyError as missing:
            raise InvalidBackupLabel(text, f"the line {missing.args[0]!r} is missing") from None
        except InvalidValue as error:
            raise InvalidBackupLabel(text, str(error)) from None


def _fields(text: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    label: list[str] = []
    in_label = False
    for line in text.removesuffix("\n").split("\n"):
        key, colon, value = line.partition(": ")
        # A label may contain newlines; the line after it always starts with one of these fields.
        in_label = in_label and not key.startswith(_LAST_FIELDS)
        if in_label:
            label.append(line)
        elif colon and key not in fields:
            fields[key] = value
            if key == "LABEL":
                in_label, label = True, [value]
    if label:
        fields["LABEL"] = "\n".join(label)
    return fields


def _location(text: str, segment_size: SegmentSize) -> tuple[LSN, WalFileName]:
    match = _LOCATION.fullmatch(text)
    if match is None:
        raise InvalidBackupLabel(text, "a WAL location is not of the form 'LSN (file NAME)'")
    return LSN(match[1]), WalFileName.parse(match[2], segment_size=segment_size)


def _timeline(text: str | None) -> int | None:
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,10}", text, re.ASCII) or not 0 < int(text) < 1 << 32:
        raise InvalidBackupLabel(text, "the timeline is not between 1 and 2**32 - 1")
    return int(text)
