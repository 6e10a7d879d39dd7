"""Data directories initialised once and copied: initdb takes longer than all else in a start."""

from __future__ import annotations

import os
import secrets
import sys
import time
from pathlib import Path

from pgreplkit.errors import LabError
from pgreplkit.lab.account import Account
from pgreplkit.values.crc32c import extended

_CHUNK = 1 << 16
_ZEROS = bytes(_CHUNK)
_WAL_PAGE_SYSTEM_ID = 24
"""Offset of xlp_sysid in the first page header of a WAL file, the same from 10 to 18."""
_CRC_OFFSETS = range(240, 400, 4)
"""Range of the CRC's place in the control file, which depends on the major version."""


def copy_data_directory(template: Path, target: Path, account: Account) -> None:
    """Copy a data directory that no server has used, as another database system.

    Servers with the same system identifier would take each other for copies, so the copy gets an
    identifier of its own, in the control file and in its WAL file.
    """
    account.copy_directory(template, target, _copy_sparse)
    system_id = _new_system_id()
    control = target / "global" / "pg_control"
    control.write_bytes(_with_system_id(control.read_bytes(), system_id))
    for path in (target / "pg_wal").glob("0000*"):
        with path.open("r+b") as wal_file:
            wal_file.seek(_WAL_PAGE_SYSTEM_ID)
            wal_file.write(system_id)


def _copy_sparse(source: Path, target: Path) -> None:
    """Copy a file without writing its zeros: most of a WAL file, of up to 1 GiB, is empty."""
    with source.open("rb", buffering=0) as reader, target.open("wb") as writer:
        while chunk := reader.read(_CHUNK):
            if chunk == _ZEROS:
                writer.seek(len(chunk), os.SEEK_CUR)
            else:
                writer.write(chunk)
        writer.truncate()
        os.fchmod(writer.fileno(), os.fstat(reader.fileno()).st_mode)


def _new_system_id() -> bytes:
    """Return an identifier made as initdb does: the time in the upper half, then other bits."""
    number = int(time.time()) << 32 | secrets.randbits(32)
    return number.to_bytes(8, sys.byteorder)


def _with_system_id(control: bytes, system_id: bytes) -> bytes:
    """Return the content of a control file with another system identifier, and its CRC."""
    for offset in _CRC_OFFSETS:
        stored = control[offset : offset + 4]
        if _crc(control[:offset]) == stored:
            changed = system_id + control[8:offset]
            return changed + _crc(changed) + control[offset + 4 :]
    raise LabError("could not copy the data directory: its control file has no valid CRC")


def _crc(data: bytes) -> bytes:
    return extended(0, data).to_bytes(4, sys.byteorder)
