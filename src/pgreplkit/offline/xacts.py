"""WalCommit: the end of a transaction, decoded from its commit or abort record."""

from datetime import UTC, datetime, timedelta
from struct import Struct

import attrs

from pgreplkit.offline.damage import InvalidWal
from pgreplkit.offline.kinds import TRANSACTION, XLOG
from pgreplkit.offline.records import RelationFile, WalRecord
from pgreplkit.values.lsn import LSN
from pgreplkit.values.record import Record
from pgreplkit.values.text import wrapped

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)

_MASK, _HAS_INFO = 0x70, 0x80
_COMMIT, _ABORT, _COMMIT_PREPARED, _ABORT_PREPARED, _ASSIGNMENT = 0x00, 0x20, 0x30, 0x40, 0x50
_ENDS = {_COMMIT, _ABORT, _COMMIT_PREPARED, _ABORT_PREPARED}
_ABORTS = {_ABORT, _ABORT_PREPARED}
_RESTORE_POINT = 0x70

# The parts of a commit, each announced by a bit, are in the order in which they are read below; so
# an unknown part in between cannot be passed over.
_HAS_DATABASE, _HAS_SUBXIDS, _HAS_RELATIONS, _HAS_INVALIDATIONS = 0x01, 0x02, 0x04, 0x08
_IS_PREPARED, _HAS_ORIGIN, _HAS_GID, _HAS_STATISTICS = 0x10, 0x20, 0x80, 0x100
# Three OIDs of a relation file; a union whose largest member has 16 bytes.
_RELATION_SIZE, _INVALIDATION_SIZE = 12, 16
# Dropped statistics (15 on): from 18 on, the ID of an object has 64 bits.
_STATISTICS_SIZE, _STATISTICS_SIZE_18 = 12, 16
_I64, _U32, _I32 = Struct("<q"), Struct("<I"), Struct("<i")
_DATABASE, _FILE, _ORIGIN = Struct("<II"), Struct("<III"), Struct("<Qq")


@attrs.frozen(kw_only=True)
class WalCommit(Record):
    """The commit of a transaction, or its abort, as the WAL records it.

    Source: the records COMMIT, ABORT, COMMIT_PREPARED and ABORT_PREPARED.
    """

    lsn: LSN
    """Position of the record."""
    end_lsn: LSN
    """Position after the record: the transaction is replayed when replay has reached it."""
    xid: int
    time: datetime
    """The time to which recovery_target_time is compared."""
    is_abort: bool
    subxids: tuple[int, ...] = ()
    """The subtransactions that ended with it."""
    database: int | None = None
    """OID of the database; None where the record does not name it."""
    gid: str | None = None
    """The name under which it was prepared (11 and later)."""
    origin: int | None = None
    """The number of the replication origin that it was received from."""
    origin_lsn: LSN | None = None
    origin_time: datetime | None = None
    dropped: tuple[RelationFile, ...] = ()
    """The files that replay removes: of dropped, truncated or rewritten relations."""

    def __str__(self) -> str:
        end = "abort" if self.is_abort else "commit"
        # With microseconds: recovery_target_time is compared to them.
        parts = [f"{self.lsn}: {end} of {self.xid} at {self.time.isoformat(sep=' ')}"]
        for name in ("database", "gid", "origin"):
            value = getattr(self, name)
            parts += [] if value is None else [f"{name} {value}"]
        for name in ("subxids", "dropped"):
            many = len(getattr(self, name))
            parts += [f"{many} {name}"] if many else []
        return "\n".join(wrapped(", ".join(parts), then="    "))


class Reader:
    """Reads consecutive values from a record's data."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def one(self, form: Struct) -> int:
        """Read a number."""
        value: int = form.unpack_from(self._data, self._at)[0]
        self._at += form.size
        return value

    def several(self, form: Struct) -> tuple[int, ...]:
        """Read the numbers of a structure."""
        values: tuple[int, ...] = form.unpack_from(self._data, self._at)
        self._at += form.size
        return values

    def count(self, size: int) -> int:
        """Read the length of an array whose items have ``size`` bytes, all of them present."""
        count = self.one(_I32)
        # Damage in a count must not become a large allocation.
        if not 0 <= count * size <= len(self._data) - self._at:
            raise InvalidWal(f"it announces {count} items of {size} bytes")
        return count

    def skip(self, size: int) -> None:
        """Leave out some bytes."""
        self._at += size

    def text(self) -> str:
        """Read the text up to a NUL."""
        end = self._data.find(b"\0", self._at)
        if end < 0:
            raise InvalidWal("a text does not end")
        # The WAL does not say in which encoding of a database the text is.
        value = self._data[self._at : end].decode(errors="surrogateescape")
        self._at = end + 1
        return value


def time_of(microseconds: int) -> datetime:
    """Convert the server's microseconds since 2000.

    Raises: InvalidWal.
    """
    try:
        return _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        raise InvalidWal(f"a time is {microseconds} µs after 2000") from None


def is_end(record: WalRecord) -> bool:
    """Return True for the record of a commit or abort."""
    return record.manager == TRANSACTION and record.info & _MASK in _ENDS


def commit_of(record: WalRecord) -> WalCommit:
    """Decode the record of a commit or abort.

    Raises: InvalidWal.
    """
    return record._apply("transaction", _commit)


def end_time(record: WalRecord) -> datetime | None:
    """Return the time that recovery_target_time is compared with; None if the record has none."""
    has_time = is_end(record) or (record.manager == XLOG and record.info & 0xF0 == _RESTORE_POINT)
    return record._apply("time", _first_time) if has_time else None


def subtransactions(record: WalRecord) -> tuple[int, tuple[int, ...]] | None:
    """Return a transaction and subtransactions that a record assigns to it."""
    if record.manager != TRANSACTION:
        return None
    if record.info & _MASK == _ASSIGNMENT:
        return record._apply("assignment", _assignment)
    if is_end(record):
        commit = commit_of(record)
        return commit.xid, commit.subxids
    return None


def _first_time(record: WalRecord) -> datetime:
    return time_of(Reader(record.data).one(_I64))


def _assignment(record: WalRecord) -> tuple[int, tuple[int, ...]]:
    reader = Reader(record.data)
    xid = reader.one(_U32)
    return xid, tuple(reader.one(_U32) for _ in range(reader.count(_U32.size)))


def _commit(record: WalRecord) -> WalCommit:
    reader, kind = Reader(record.data), record.info & _MASK
    time = time_of(reader.one(_I64))
    info = reader.one(_U32) if record.info & _HAS_INFO else 0
    database = reader.several(_DATABASE)[0] if info & _HAS_DATABASE else None
    subxids: tuple[int, ...] = ()
    dropped: tuple[RelationFile, ...] = ()
    if info & _HAS_SUBXIDS:
        subxids = tuple(reader.one(_U32) for _ in range(reader.count(_U32.size)))
    if info & _HAS_RELATIONS:
        count = reader.count(_RELATION_SIZE)
        dropped = tuple(RelationFile(*reader.several(_FILE)) for _ in range(count))
    if info & _HAS_STATISTICS:
        size = _STATISTICS_SIZE if record.major < 18 else _STATISTICS_SIZE_18
        reader.skip(reader.count(size) * size)
    if info & _HAS_INVALIDATIONS:
        reader.skip(reader.count(_INVALIDATION_SIZE) * _INVALIDATION_SIZE)
    # COMMIT PREPARED runs in another session, so the header has no xid of the transaction.
    xid = reader.one(_U32) if info & _IS_PREPARED else record.xid
    gid = reader.text() if info & _HAS_GID else None
    origin_lsn, origin_time = reader.several(_ORIGIN) if info & _HAS_ORIGIN else (None, None)
    return WalCommit(
        lsn=record.lsn,
        end_lsn=record.end_lsn,
        xid=xid,
        time=time,
        is_abort=kind in _ABORTS,
        subxids=subxids,
        database=database,
        gid=gid,
        origin=record.origin,
        origin_lsn=None if origin_lsn is None else LSN(origin_lsn),
        origin_time=None if origin_time is None else time_of(origin_time),
        dropped=dropped,
    )
