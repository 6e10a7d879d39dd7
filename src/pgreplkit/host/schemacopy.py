"""Copies of a schema with pg_dump and pg_restore."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from psycopg.conninfo import make_conninfo

from pgreplkit._text import quote_identifier
from pgreplkit.driver.secrets import private_conninfo
from pgreplkit.errors import ControlFailed
from pgreplkit.host.programs import Programs
from pgreplkit.plans.logical.drift import SchemaSection
from pgreplkit.values.tablename import TableName

_REMEDY = "pass the directory of the subscriber's pg_dump and pg_restore as bindir="
_VERSION_TIMEOUT = 10.0
"""Seconds for a program to print its version, also from a disk that is asleep."""
_DUMPED = {SchemaSection.KEYS: "post-data", SchemaSection.REST: "post-data"}
"""The sections that are a part of one of pg_dump's."""


def copy_sections(
    source: str,
    target: str,
    sections: Sequence[SchemaSection],
    tables: Sequence[TableName] | None,
    identities: Sequence[int],
    *,
    owners: bool,
    bindir: Path | None,
    timeout: float,
) -> None:
    """Dump sections of a database once, and restore each into another in one transaction.

    ``identities`` are the OIDs of indexes that are replica identities.

    Raises: ControlFailed.
    """
    dumped_sections = dict.fromkeys(_DUMPED.get(section, section) for section in sections)
    dump = [
        _program("pg_dump", bindir),
        *("--format=custom", "--schema-only"),
        *(f"--section={section}" for section in dumped_sections),
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
        for section in sections:
            whole = f"--section={_DUMPED.get(section, section)}"
            with tempfile.NamedTemporaryFile(prefix="pgreplkit-") as chosen:
                listed = _run("list the schema", [restore[0], "--list", whole], dumped, timeout)
                chosen.write(_part(listed, section, identities))
                chosen.flush()
                arguments = [*restore, whole, f"--use-list={chosen.name}", f"--dbname={there}"]
                _run("restore the schema", arguments, dumped, timeout)


def program_majors(bindir: Path | None) -> dict[str, int | str]:
    """Return the major versions of pg_dump and pg_restore, or why they cannot be run."""
    found: dict[str, int | str] = {}
    for name in ("pg_dump", "pg_restore"):
        try:
            printed = _run(
                "read the version", [_program(name, bindir), "--version"], b"", _VERSION_TIMEOUT
            )
        except ControlFailed as error:
            found[name] = error.found
            continue
        numbers = re.findall(rb"\d+", printed)
        found[name] = int(numbers[0]) if numbers else f"{name} does not print its version"
    return found


def _part(listed: bytes, section: SchemaSection, identities: Sequence[int]) -> bytes:
    """Return the entries of the list of an archive that belong to a section."""
    if section not in _DUMPED:
        return listed
    oids = b"|".join(str(oid).encode() for oid in identities) or b"none"
    # The OIDs of an entry are those of its catalog, and of the object.
    key = re.compile(rb"\d+; \d+ (\d+ CONSTRAINT|(" + oids + rb") INDEX) ")
    entries = [line for line in listed.splitlines() if line[:1].isdigit()]
    wanted = section is SchemaSection.KEYS
    return b"\n".join(line for line in entries if bool(key.match(line)) is wanted)


def _run(operation: str, arguments: Sequence[str], given: bytes, timeout: float) -> bytes:
    try:
        run = Programs().run(operation, arguments, given=given, timeout=timeout)
    except ControlFailed as error:
        if not isinstance(error.__cause__, OSError):
            raise
        raise ControlFailed(operation, error.found, remedy=_REMEDY) from error.__cause__
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
