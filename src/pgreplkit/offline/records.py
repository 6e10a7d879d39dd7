"""WalRecord: one record of the WAL, with its blocks and full page images decoded on demand."""

import struct
from collections.abc import Callable
from struct import Struct
from typing import TypeVar

import attrs

from pgreplkit.offline.damage import InvalidWal
from pgreplkit.offline.images import HAS_HOLE, PAGE_SIZE, PageImage, applies, compression_of
from pgreplkit.offline.kinds import kind_of
from pgreplkit.offline.pages import record_end
from pgreplkit.values.crc32c import extension
from pgreplkit.values.lsn import LSN
from pgreplkit.values.openenum import OpenEnum
from pgreplkit.values.plain import JSONValue, plain
from pgreplkit.values.record import Record

T = TypeVar("T")

HEADER = Struct("<IIQBBxxI")
"""Total length, xid, previous record, info, resource manager, CRC."""
HEADER_SIZE = HEADER.size
INFO_AT, MANAGER_AT, _CRC_AT = 16, 17, 20
LONGEST = 1020 << 20
"""The longest record that a server writes."""

# Numbers up to 32 are blocks; the highest ones stand for other parts (top-level xid: 14 on).
_SHORT_DATA, _LONG_DATA, _ORIGIN, _TOP_XID = 255, 254, 253, 252
LAST_BLOCK = 32
HAS_IMAGE, _WILL_INIT, SAME_RELATION, _FORK = 0x10, 0x40, 0x80, 0x0F
_BLOCK_HEAD, _IMAGE_HEAD, _RELATION = Struct("<BH"), Struct("<HHB"), Struct("<III")
_BLOCK_SIZE = 8
"""Size of a block's headers without an image and a relation."""
_U8, _U16, _U32 = Struct("<B"), Struct("<H"), Struct("<I")


class Fork(OpenEnum):
    """The fork of a relation: a file of its own for each purpose."""

    MAIN = "main"
    FSM = "fsm"
    VM = "vm"
    INIT = "init"


_FORKS = tuple(Fork)


@attrs.frozen(order=True)
class RelationFile(Record):
    """The file of a relation: tablespace and database by OID, and the file's number.

    The number is the relation's ``relfilenode``; it changes when the table is rewritten.

    >>> print(RelationFile(1663, 5, 16384))
    1663/5/16384

    Source: RelFileLocator; pg_filenode_relation() returns its table.
    """

    _is_named = True

    tablespace: int
    database: int
    """OID of the database; 0 for a relation that all databases share."""
    number: int

    def __str__(self) -> str:
        return f"{self.tablespace}/{self.database}/{self.number}"


@attrs.frozen
class WalBlock(Record):
    """A block to which a record refers."""

    id: int
    """The number of the block in the record."""
    relation: RelationFile
    fork: Fork
    number: int
    """The number of the block in the fork."""
    will_init: bool
    """True if replay initializes the page instead of reading it."""
    image: PageImage | None
    data: bytes = attrs.field(repr=lambda data: f"<{len(data)} bytes>")


@attrs.frozen
class Source:
    """The origin of records: file, major version, timeline and the sizes of its pages."""

    path: str | None
    major: int
    timeline: int
    segment_size: int
    block_size: int


@attrs.frozen
class _Parts:
    """The content of a record after its header."""

    blocks: tuple[WalBlock, ...]
    data: bytes
    origin: int | None
    top_xid: int | None


class WalRecord:
    """A record of the WAL.

    Records compare equal if position and content are equal. Blocks and data are decoded when they
    are first used; a record whose parts contradict each other then raises InvalidWal.

    Source: XLogRecord; pg_waldump prints the same names and lengths.
    """

    # Reading creates one for each record, so it has few attributes, and decodes the others.
    __slots__ = ("_lsn", "_parts", "_source", "content")

    _lsn: int
    _parts: _Parts | None
    _source: Source
    content: bytes
    """All bytes of the record, without page headers."""

    def __init__(self, source: Source, lsn: int, content: bytes) -> None:
        self._source = source
        self._lsn = lsn
        self.content = content
        self._parts = None

    @property
    def length(self) -> int:
        """Total length in bytes, with full page images, without page headers."""
        return len(self.content)

    @property
    def xid(self) -> int:
        """Transaction that wrote it, which can be a subtransaction; 0 for none."""
        return int.from_bytes(self.content[4:8], "little")

    @property
    def info(self) -> int:
        """The number of the kind, and flags."""
        return self.content[INFO_AT]

    @property
    def manager(self) -> int:
        """The number of the resource manager."""
        return self.content[MANAGER_AT]

    @property
    def lsn(self) -> LSN:
        """Position of the record."""
        # Not stored as an LSN: most records of a scan are only counted.
        return LSN(self._lsn)

    @property
    def end_lsn(self) -> LSN:
        """Position after the record, as in pg_current_wal_insert_lsn() just after it was written.

        The next record starts here, or behind the header of the page that starts here.
        """
        source = self._source
        return LSN(record_end(self._lsn, self.length, source.segment_size, source.block_size))

    @property
    def prev_lsn(self) -> LSN:
        """Position of the previous record."""
        return LSN(int.from_bytes(self.content[8:16], "little"))

    @property
    def timeline(self) -> int:
        """The timeline on which it was written."""
        return self._source.timeline

    @property
    def major(self) -> int:
        """Major version of the server that wrote it."""
        return self._source.major

    @property
    def resource_manager(self) -> str:
        """Name of the resource manager, such as ``Heap`` or ``Transaction``."""
        return kind_of(self._source.major, self.manager, self.info)[0]

    @property
    def kind(self) -> str:
        """Name of the kind, such as ``INSERT+INIT`` or ``COMMIT``, as pg_waldump prints it.

        For a kind that no known server writes it is ``UNKNOWN`` with its number.
        """
        return kind_of(self._source.major, self.manager, self.info)[1]

    @property
    def fpi_bytes(self) -> int:
        """Size in bytes of its full page images, as stored."""
        if self._parts is None:
            try:
                return _image_bytes(self.content, self._source.major)
            except IndexError:
                pass  # Decoding the blocks reports the damage.
        return sum(block.image.size for block in self.blocks if block.image is not None)

    @property
    def record_bytes(self) -> int:
        """Length in bytes without full page images: ``len (rec)`` of pg_waldump."""
        return self.length - self.fpi_bytes

    @property
    def blocks(self) -> tuple[WalBlock, ...]:
        """The blocks to which it refers."""
        return self._decoded().blocks

    @property
    def data(self) -> bytes:
        """The main data, whose form depends on the kind."""
        return self._decoded().data

    @property
    def origin(self) -> int | None:
        """The number of the replication origin; None if the change originated here."""
        return self._decoded().origin

    @property
    def top_xid(self) -> int | None:
        """The top-level transaction, in a subtransaction's first record with wal_level logical."""
        return self._decoded().top_xid

    @property
    def is_crc_correct(self) -> bool:
        """True if the CRC-32C in the header is that of the content.

        Without the extra ``crc32c`` it is computed in Python, at about 9 MB/s.
        """
        crc = int.from_bytes(self.content[_CRC_AT:HEADER_SIZE], "little")
        return self.computed_crc() == crc

    def computed_crc(self) -> int:
        """Return the CRC-32C of the content: of the part after the header, then of the header."""
        extend = extension()
        # The server computes it in this order, because it knows the position of the previous
        # record, which is in the header, only when it inserts the record.
        return extend(extend(0, self.content[HEADER_SIZE:]), self.content[:_CRC_AT])

    def to_dict(self) -> dict[str, JSONValue]:
        """Convert the record to JSON types, without its data and images."""
        return {
            "lsn": str(self.lsn),
            "end_lsn": str(self.end_lsn),
            "prev_lsn": str(self.prev_lsn),
            "timeline": self.timeline,
            "xid": self.xid,
            "resource_manager": self.resource_manager,
            "kind": self.kind,
            "length": self.length,
            "fpi_bytes": self.fpi_bytes,
            "origin": self.origin,
            "top_xid": self.top_xid,
            "blocks": [
                {
                    "relation": str(block.relation),
                    "fork": str(block.fork),
                    "number": block.number,
                    "image": plain(block.image and block.image.size),
                }
                for block in self.blocks
            ],
        }

    def _apply(self, what: str, decode: "Callable[[WalRecord], T]") -> T:
        """Apply a function that decodes the record; raise InvalidWal if it cannot."""
        try:
            return decode(self)
        except (struct.error, InvalidWal) as error:
            found = error.found if isinstance(error, InvalidWal) else "it is cut off"
            raise InvalidWal(
                f"the {what} of the record ({self.kind}) is not valid: {found}",
                path=self._source.path,
                lsn=self.lsn,
            ) from None

    def _decoded(self) -> _Parts:
        if self._parts is None:
            self._parts = self._apply("structure", _decode)
        return self._parts

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, WalRecord):
            return NotImplemented
        return self._lsn == other._lsn and self.content == other.content

    def __hash__(self) -> int:
        # Without the content, which can be many kilobytes.
        return hash((self._lsn, self.length, self.xid))

    def __str__(self) -> str:
        of = f" of {self.xid}" if self.xid else ""
        parts = [f"{self.lsn}: {self.resource_manager}/{self.kind}{of}", f"{self.length} bytes"]
        for block in self.blocks:
            fork = "" if block.fork is Fork.MAIN else f" {block.fork}"
            image = "" if block.image is None else " (image)"
            parts.append(f"block {block.number} of {block.relation}{fork}{image}")
        return ", ".join(parts)

    def __repr__(self) -> str:
        of = f" of {self.xid}" if self.xid else ""
        return (
            f"<WalRecord {self.resource_manager}/{self.kind} at {self.lsn}{of},"
            f" {self.length} bytes>"
        )


@attrs.define
class _Head:
    """A block's headers, before its image and data are located."""

    id: int
    flags: int
    data_size: int
    image_size: int = 0
    hole_offset: int = 0
    hole_length: int = 0
    image_flags: int = 0
    relation: RelationFile | None = None
    number: int = 0


def _decode(record: WalRecord) -> _Parts:
    """Decode what follows a record's header; its sizes must add up to the record's length."""
    content, major = record.content, record.major
    size, at, sizes = len(content), HEADER_SIZE, 0
    heads: list[_Head] = []
    origin = top_xid = None
    data_size = 0
    # As the server reads it: all headers come first, and end where the announced contents begin.
    while size - at > sizes:
        key = content[at]
        at += 1
        if key <= LAST_BLOCK:
            head, at = _head(content, at, key, heads[-1] if heads else None, major)
            heads.append(head)
            sizes += head.data_size + head.image_size
        elif key in (_SHORT_DATA, _LONG_DATA):
            form = _U8 if key == _SHORT_DATA else _U32
            data_size, at = form.unpack_from(content, at)[0], at + form.size
            sizes += data_size
            break
        elif key == _ORIGIN:
            origin, at = _U16.unpack_from(content, at)[0], at + _U16.size
        elif key == _TOP_XID:
            top_xid, at = _U32.unpack_from(content, at)[0], at + _U32.size
        else:
            raise InvalidWal(f"no server writes a part with the number {key}")
    if at + sizes != size:
        raise InvalidWal(f"its parts have {at + sizes} bytes, and the record {size}")
    blocks = []
    for head in heads:
        block, at = _located(content, at, head, major)
        blocks.append(block)
    return _Parts(tuple(blocks), content[size - data_size :] if data_size else b"", origin, top_xid)


def _image_bytes(content: bytes, major: int) -> int:
    """Return the size of all images, by the blocks' headers only: statistics need it of each."""
    at, images, left = HEADER_SIZE, 0, len(content) - HEADER_SIZE
    while left > 0 and content[at] <= LAST_BLOCK:
        flags, size = content[at + 1], _BLOCK_SIZE
        left -= content[at + 2] | content[at + 3] << 8
        if flags & HAS_IMAGE:
            image = content[at + 4] | content[at + 5] << 8
            images, left = images + image, left - image
            form = content[at + 8]
            is_compressed = compression_of(form, major) is not None
            size += 7 if is_compressed and form & HAS_HOLE else 5
        if not flags & SAME_RELATION:
            size += _RELATION.size
        at, left = at + size, left - size
    return images


def _head(
    content: bytes, at: int, key: int, previous: _Head | None, major: int
) -> tuple[_Head, int]:
    """Decode a block's headers; return where they end."""
    # The server numbers blocks in ascending order, and refuses any other order.
    if previous is not None and key <= previous.id:
        raise InvalidWal(f"block {key} follows block {previous.id}")
    head = _Head(key, *_BLOCK_HEAD.unpack_from(content, at))
    at += _BLOCK_HEAD.size
    if head.flags & HAS_IMAGE:
        head.image_size, head.hole_offset, flags = _IMAGE_HEAD.unpack_from(content, at)
        at += _IMAGE_HEAD.size
        head.image_flags = flags
        # An image that is not compressed lacks only the hole, so the record omits its length.
        if compression_of(flags, major) is None:
            head.hole_length = PAGE_SIZE - head.image_size
        elif flags & HAS_HOLE:
            head.hole_length, at = _U16.unpack_from(content, at)[0], at + _U16.size
    if not head.flags & SAME_RELATION:
        head.relation, at = RelationFile(*_RELATION.unpack_from(content, at)), at + _RELATION.size
    elif previous is None:
        raise InvalidWal("its first block refers to the relation of the block before")
    else:
        head.relation = previous.relation
    head.number, at = _U32.unpack_from(content, at)[0], at + _U32.size
    return head, at


def _located(content: bytes, at: int, head: _Head, major: int) -> tuple[WalBlock, int]:
    """Return the block with its image and data; return where they end."""
    image = None
    if head.flags & HAS_IMAGE:
        hole = head.hole_offset, head.hole_length
        if head.hole_length < 0 or sum(hole) > PAGE_SIZE:
            raise InvalidWal(f"an image has a hole of {hole[1]} bytes at {hole[0]}")
        image = PageImage(
            content[at : at + head.image_size],
            *hole,
            compression_of(head.image_flags, major),
            applies(head.image_flags, major),
        )
        at += head.image_size
    if head.relation is None:
        raise InvalidWal("a block has no relation")
    block = WalBlock(
        id=head.id,
        relation=head.relation,
        # An unknown fork is not damage that would prevent reading the rest.
        fork=_FORKS[head.flags & _FORK] if head.flags & _FORK < len(_FORKS) else Fork("unknown"),
        number=head.number,
        will_init=bool(head.flags & _WILL_INIT),
        image=image,
        data=content[at : at + head.data_size],
    )
    return block, at + head.data_size
