"""The bytes of pgoutput's messages, built as the server builds them."""

from __future__ import annotations

import struct
from collections.abc import Sequence


def relation(
    oid: int = 7,
    columns: Sequence[tuple[str, int, bool]] = (("id", 23, True), ("name", 25, False)),
    *,
    name: str = "users",
    identity: str = "d",
    xid: int | None = None,
) -> bytes:
    described = b"".join(
        bytes([is_key]) + column.encode() + b"\0" + struct.pack(">Ii", type_oid, -1)
        for column, type_oid, is_key in columns
    )
    head = b"R" + _xid(xid) + struct.pack(">I", oid) + b"public\0" + name.encode() + b"\0"
    return head + identity.encode() + struct.pack(">h", len(columns)) + described


def row(*values: object) -> bytes:
    parts = [struct.pack(">h", len(values))]
    for value in values:
        if value is None:
            parts.append(b"n")
        elif value is ...:
            parts.append(b"u")
        else:
            kind, data = (b"b", value) if isinstance(value, bytes) else (b"t", str(value).encode())
            parts.append(kind + struct.pack(">I", len(data)) + data)
    return b"".join(parts)


def insert(*values: object, oid: int = 7, xid: int | None = None) -> bytes:
    return b"I" + _xid(xid) + struct.pack(">I", oid) + b"N" + row(*values)


def update(
    *values: object, key: Sequence[object] | None = None, old: Sequence[object] | None = None
) -> bytes:
    before = b"" if key is None else b"K" + row(*key)
    before = before if old is None else b"O" + row(*old)
    return b"U" + struct.pack(">I", 7) + before + b"N" + row(*values)


def delete(*values: object, kind: bytes = b"K") -> bytes:
    return b"D" + struct.pack(">I", 7) + kind + row(*values)


def truncate(*oids: int, options: int = 0) -> bytes:
    return b"T" + struct.pack(">IB", len(oids), options) + struct.pack(f">{len(oids)}I", *oids)


def begin(finish: int, xid: int = 5) -> bytes:
    return b"B" + struct.pack(">QqI", finish, 1_000_000, xid)


def commit(finish: int) -> bytes:
    return b"C\0" + struct.pack(">QQq", finish, finish + 48, 1_000_000)


def message(
    lsn: int, content: bytes = b"hi", *, transactional: bool, xid: int | None = None
) -> bytes:
    head = b"M" + _xid(xid) + struct.pack(">BQ", transactional, lsn)
    return head + b"prefix\0" + struct.pack(">I", len(content)) + content


def origin(name: str, lsn: int = 9) -> bytes:
    return b"O" + struct.pack(">Q", lsn) + name.encode() + b"\0"


def type_told(oid: int, name: str) -> bytes:
    return b"Y" + struct.pack(">I", oid) + b"public\0" + name.encode() + b"\0"


def stream_start(xid: int, *, first: bool = True) -> bytes:
    return b"S" + struct.pack(">IB", xid, first)


STREAM_STOP = b"E"


def stream_commit(xid: int, finish: int) -> bytes:
    return b"c" + struct.pack(">IBQQq", xid, 0, finish, finish + 48, 1_000_000)


def stream_abort(xid: int, subxid: int, *, with_position: bool = False) -> bytes:
    return (
        b"A"
        + struct.pack(">II", xid, subxid)
        + (struct.pack(">Qq", 77, 0) if with_position else b"")
    )


def begin_prepare(lsn: int, xid: int = 5, gid: str = "g") -> bytes:
    return b"b" + struct.pack(">QQqI", lsn, lsn + 48, 0, xid) + gid.encode() + b"\0"


def prepare(lsn: int, xid: int = 5, gid: str = "g", *, kind: bytes = b"P") -> bytes:
    """P, K (its commit) or p (of a streamed transaction)."""
    return kind + struct.pack(">BQQqI", 0, lsn, lsn + 48, 0, xid) + gid.encode() + b"\0"


def rollback_prepared(lsn: int, xid: int = 5, gid: str = "g") -> bytes:
    return b"r" + struct.pack(">BQQqqI", 0, lsn, lsn + 48, 0, 1, xid) + gid.encode() + b"\0"


def _xid(xid: int | None) -> bytes:
    return b"" if xid is None else struct.pack(">I", xid)
