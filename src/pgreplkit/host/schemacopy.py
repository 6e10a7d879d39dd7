"""Copies of a schema with pg_dump and pg_restore."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from psycopg.conninfo import make_conninfo

from pgreplkit._text import quote_identifier
from pgreplkit.driver.conninfo import private_conninfo
from pgreplkit.errors import ControlFailed
from pgreplkit.host.programs import Programs
from pgreplkit.plans.logical.drift import SchemaSection
from pgreplkit.values.tablename import TableName


def copy_section(
    source: str,
    target: str,
    section: SchemaSection,
    tables: Sequence[TableName] | None,
    *,
    owners: bool,
    bindir: Path | None,
    timeout: float,
) -> None:
    """Dump one section of a database, and restore it into another in one transaction.

    Raises: ControlFailed.
    """
    dump = [
        _program("pg_dump", bindir),
        *("--format=custom", "--schema-only", f"--section={section.value}"),
        # A copied subscription would use the slot of the original.
        *("--no-publications", "--no-subscriptions"),
        *(f"--table={_pattern(table)}" for table in tables or ()),
    ]
    restore = [
        _program("pg_restore", bindir),
        # A section that is restored in part could not be restored again.
        *("--single-transaction", "--exit-on-error"),
        *(() if owners else ("--no-owner", "--no-privileges")),
    ]
    with _private(source) as here, _private(target) as there:
        dumped = _run("dump the schema", [*dump, f"--dbname={here}"], b"", timeout)
        _run("restore the schema", [*restore, f"--dbname={there}"], dumped, timeout)


def _run(operation: str, arguments: Sequence[str], given: bytes, timeout: float) -> bytes:
    run = Programs().run(operation, arguments, given=given, timeout=timeout)
    if run.returncode:
        raise ControlFailed(operation, run.text)
    return run.output


def _program(name: str, bindir: Path | None) -> str:
    return name if bindir is None else str(bindir / name)


def _pattern(table: TableName) -> str:
    return ".".join(quote_identifier(part) for part in (table.schema, table.name))


@contextmanager
def _private(conninfo: str) -> Iterator[str]:
    """Return a connection string without a password, which is in a temporary password file."""
    public, passfile = private_conninfo(conninfo, conninfo)
    if passfile is None:
        yield public
        return
    with tempfile.TemporaryDirectory(prefix="pgreplkit-") as folder:
        path = Path(folder) / "passfile"
        path.touch(0o600)
        path.write_bytes(passfile)
        yield make_conninfo(public, passfile=str(path))
