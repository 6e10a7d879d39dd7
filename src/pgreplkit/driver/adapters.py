"""LSN and psycopg: pg_lsn columns and parameters, text and binary."""

from __future__ import annotations

from binascii import unhexlify
from functools import cache

import psycopg
from psycopg import adapt, postgres, pq
from psycopg.abc import AdaptContext, Buffer

from pgreplkit.driver.encodings import name_encoding
from pgreplkit.values.lsn import LSN, trusted_lsn

_PG_LSN = postgres.types["pg_lsn"].oid


class _LSNTextLoader(adapt.Loader):
    def load(self, data: Buffer) -> LSN:
        text = bytes(data)
        # Faster than LSN("…"): this is called once for each value of a column.
        if text[-9:-8] == b"/":
            return trusted_lsn(unhexlify(text.zfill(17).replace(b"/", b"", 1)))
        return LSN(text.decode("ascii"))


class _LSNBinaryLoader(adapt.Loader):
    format = pq.Format.BINARY

    def load(self, data: Buffer) -> LSN:
        # The server always sends eight bytes.
        return trusted_lsn(bytes(data))


class _LSNTextDumper(adapt.Dumper):
    oid = _PG_LSN

    def dump(self, obj: LSN) -> Buffer:
        return str(obj).encode("ascii")


class _LSNBinaryDumper(adapt.Dumper):
    oid = _PG_LSN
    format = pq.Format.BINARY

    def dump(self, obj: LSN) -> Buffer:
        return obj.to_bytes()


def register(context: AdaptContext) -> None:
    """Make psycopg load pg_lsn columns as LSN and send LSN parameters as pg_lsn.

    This covers text and binary, arrays and COPY. ``context`` is a psycopg connection or cursor
    (sync or async), or an adapters map such as ``psycopg.adapters``; connections created from it
    earlier are not changed. Connections opened by pgreplkit are registered.

    Raises: TypeError for anything else, such as a connection pool.
    Source: the type pg_lsn.
    """
    adapters = getattr(context, "adapters", None)
    if not isinstance(adapters, adapt.AdaptersMap):
        raise TypeError(
            "register() takes a connection or cursor of psycopg 3, or an adapters map such as"
            f" psycopg.adapters, not {type(context).__name__}; for a pool, call it in the function"
            " that the pool takes as configure="
        )
    adapters.register_loader("pg_lsn", _LSNTextLoader)
    adapters.register_loader("pg_lsn", _LSNBinaryLoader)
    # For parameters without an explicit format, psycopg uses the dumper registered last.
    adapters.register_dumper(LSN, _LSNBinaryDumper)
    adapters.register_dumper(LSN, _LSNTextDumper)


@cache
def shared_adapters() -> adapt.AdaptersMap:
    """Return psycopg's adapters with LSN, as they are at the first call.

    Connections that are opened with this map share it. A connection that is registered by itself
    has a copy of all adapters, which takes 25 KiB.
    """
    adapters = adapt.AdaptersMap(psycopg.adapters)
    register(adapters)
    return adapters


def register_readable(context: AdaptContext) -> None:
    """Make psycopg load texts of catalogs as str, whatever bytes they hold.

    A database of SQL_ASCII, and a configuration file in any database, may hold bytes that are not
    of the session's encoding: they are shown escaped, as in ``caf\\xe9``.
    """
    for oid in _TEXTS:
        context.adapters.register_loader(oid, _ReadableTextLoader)
        context.adapters.register_loader(oid, _ReadableBinaryLoader)


_UNKNOWN = 705
_TEXTS = (
    _UNKNOWN,
    *(postgres.types[name].oid for name in ("text", "varchar", "bpchar", "name", '"char"')),
)


class _ReadableTextLoader(adapt.Loader):
    def __init__(self, oid: int, context: AdaptContext | None = None) -> None:
        super().__init__(oid, context)
        self._encoding = name_encoding(self.connection) if self.connection else "utf-8"

    def load(self, data: Buffer) -> str:
        return bytes(data).decode(self._encoding, "backslashreplace")


class _ReadableBinaryLoader(_ReadableTextLoader):
    format = pq.Format.BINARY
