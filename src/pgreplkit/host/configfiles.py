"""Line-by-line changes of pg_hba.conf and of password files."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pgtoolkit.hba import HBARecord
from pgtoolkit.pgpass import PassEntry

from pgreplkit._text import quote_identifier
from pgreplkit.errors import HostFileError
from pgreplkit.plans.server.access import PHYSICAL, AccessRequest

_KEYWORDS = {"all", "replication", "sameuser", "samerole", "samegroup"}
_PRIVATE = 0o600


def hba_line(asked: AccessRequest) -> str:
    """Return a line of pg_hba.conf that allows the connections, with names quoted if needed."""
    network, database = asked.network, asked.database
    fields = {
        "conntype": "local" if network is None else "hostssl" if asked.ssl else "host",
        "database": PHYSICAL if database == PHYSICAL else _quoted(database),
        "user": _quoted(asked.role),
        **({} if network is None else {"address": str(network)}),
        "method": asked.method,
    }
    return str(HBARecord(**fields))


def _quoted(name: str) -> str:
    plain = name.replace("_", "a").isalnum() and name.isascii() and name not in _KEYWORDS
    return name if plain else quote_identifier(name)


def insert_line(path: Path, line: str, *, before: int | None) -> Path:
    """Insert a line before a line number, or at the end; return the path of the backup.

    Raises: HostFileError.
    """
    with translate_os_errors(f"add a line to {path}"):
        text = path.read_bytes()
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        backup = path.with_name(f"{path.name}.{stamp}.bak")
        shutil.copy2(path, backup)
        # A base backup reads it, and fails if the account of the server cannot.
        shutil.chown(backup, (found := path.stat()).st_uid, found.st_gid)
        lines = text.splitlines(keepends=True)
        at = len(lines) if before is None else before - 1
        # The new line must not continue the last one.
        if lines and not lines[-1].endswith(b"\n"):
            lines[-1] += b"\n"
        lines.insert(at, f"{line}\n".encode())
        replace_file(path, b"".join(lines))
        return backup


def restore(path: Path, backup: Path) -> None:
    """Restore the content of the backup, and remove the backup."""
    with translate_os_errors(f"restore {path} from {backup}"):
        replace_file(path, backup.read_bytes())
        backup.unlink()


def replace_file(path: Path, content: bytes, *, mode: int | None = None) -> None:
    """Replace a file atomically; it keeps its owner, and by default its mode."""
    path = path.resolve()  # a link stays one
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    new = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            if path.exists():
                found = path.stat()
                os.fchown(file.fileno(), found.st_uid, found.st_gid)
                os.fchmod(file.fileno(), found.st_mode if mode is None else mode)
            file.write(content)
            file.flush()
            # The rename may reach the disk before the content.
            os.fsync(file.fileno())
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def sync_folder(path: Path) -> None:
    """Flush the entries of a directory to disk."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def add_passfile_entry(
    *,
    host: str,
    port: int | str,
    database: str,
    user: str,
    password: str,
    path: str | os.PathLike[str] | None = None,
) -> Path:
    """Write a password into a libpq password file with mode 0600; return the file's path.

    ``*`` matches any host, port, database or user; for connections of standbys and receivers the
    database is ``replication``. An entry for the same connection is replaced, all others are kept.
    libpq uses the first matching entry, so the new one is inserted before less specific ones. The
    file is ``path``, by default that of PGPASSFILE or ~/.pgpass.

    Raises: HostFileError; ValueError for a line break in a field, or an invalid port.
    """
    entry = _passfile_entry(host, port, database, user, password)
    file = Path(path or os.environ.get("PGPASSFILE") or "~/.pgpass").expanduser()
    with translate_os_errors(f"add an entry to {file}"):
        # Bytes, because other entries may be in any encoding.
        content = file.read_bytes() if file.exists() else b""
        lines = content.removesuffix(b"\n").split(b"\n") if content else []
        kept = [(line, other) for line in lines if not _is_for_the_same(other := _key(line), entry)]
        key = entry.sort_key()
        at = next((n for n, (_, other) in enumerate(kept) if _is_after(other, key)), len(kept))
        new = [line for line, _ in kept]
        new.insert(at, str(entry).encode())
        replace_file(file, b"".join(line + b"\n" for line in new), mode=_PRIVATE)
    return file


def _passfile_entry(
    host: str, port: int | str, database: str, user: str, password: str
) -> PassEntry:
    if port != "*" and not (str(port).isascii() and str(port).isdecimal()):
        raise ValueError(f"port must be a number or '*', not {port!r}")
    for part in (host, database, user, password):
        if not isinstance(part, str):
            raise TypeError(f"fields of a password file must be str, not {type(part).__name__}")
        # These errors do not repeat the field, which may be the password.
        if any(mark in part for mark in "\n\r\0"):
            raise ValueError("fields of a password file must not contain a line break or NUL")
        if any("\ud800" <= letter <= "\udfff" for letter in part):
            raise ValueError("fields of a password file must not contain a lone surrogate")
    if host.startswith("#"):
        raise ValueError("the host must not start with '#', which would start a comment")
    return PassEntry(host, port, database, user, password)


def _key(line: bytes) -> PassEntry | None:
    """Return the entry of a line without its password; None for a comment or invalid line."""
    if not line.strip() or line.lstrip().startswith(b"#"):
        return None
    fields = re.split(rb"(?<!\\):", line, maxsplit=4)
    if len(fields) != 5:  # libpq passes over it too
        return None
    try:
        return PassEntry.parse(b":".join([*fields[:4], b""]).decode(errors="surrogateescape"))
    except ValueError:
        return None


def _is_for_the_same(other: PassEntry | None, entry: PassEntry) -> bool:
    return other is not None and other == entry


def _is_after(other: PassEntry | None, key: object) -> bool:
    return other is not None and key < other.sort_key()  # type: ignore[operator]


@contextmanager
def translate_os_errors(operation: str, *, remedy: str = "") -> Iterator[None]:
    """Translate OSError in the block into HostFileError."""
    try:
        yield
    except OSError as error:
        raise HostFileError(operation, error.strerror or str(error), remedy=remedy) from error
