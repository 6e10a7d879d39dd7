"""Compare the applier with Bucardo, which replicates by triggers, in one run.

It needs the program ``bucardo`` and a server with PL/Perl, as from Debian's packages ``bucardo``
and ``postgresql-plperl-15``; without them it says which is missing. Both replicate one table from
one database to another while its rows are written, and both have been started before, with their
default settings.
"""

from __future__ import annotations

import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import apply
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgreplkit.lab import Installation, Lab, find_servers

SCHEMA = Path("/usr/share/bucardo/bucardo.schema")
PASSWORD = "bucardo"
CHANGES, LATENCIES = 50_000, 50


def has_perl(bindir: Path) -> bool:
    """Whether a server has PL/Perl."""
    config = [str(bindir / "pg_config"), "--sharedir"]
    if not Path(config[0]).exists():
        return False
    shared = subprocess.run(config, check=True, capture_output=True, text=True).stdout.strip()
    return Path(shared, "extension/plperlu.control").exists()


def missing() -> list[str]:
    """Return what has to be installed."""
    found = {
        "the program bucardo (package bucardo)": SCHEMA.exists() and shutil.which("bucardo"),
        "a server with PL/Perl (package postgresql-plperl-15)": servers_with_perl(),
    }
    return [what for what, is_there in found.items() if not is_there]


def servers_with_perl() -> list[Installation]:
    return [one for one in find_servers() if has_perl(one.bindir)]


def execute(conninfo: str, *statements: str) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def measured(source: str, target: str) -> tuple[float, float]:
    """Return the seconds until many single rows have arrived, and the median of one row."""
    with (
        psycopg.connect(source) as writer,
        psycopg.connect(target, autocommit=True) as reader,
    ):
        start = time.perf_counter()
        with writer.pipeline():
            for [statement] in apply.single_rows(CHANGES):
                writer.execute(statement.encode(), prepare=False)
                writer.commit()
        last = 1_000_000 + CHANGES - 1
        wait_for(reader, last)
        whole = time.perf_counter() - start
        times = []
        for number in range(LATENCIES):
            writer.execute("INSERT INTO t (id) VALUES (%s)", [number])
            writer.commit()
            start = time.perf_counter()
            wait_for(reader, number)
            times.append(time.perf_counter() - start)
    return whole, statistics.median(times)


def wait_for(reader: psycopg.Connection, number: int) -> None:
    apply.wait(
        lambda: bool(reader.execute("SELECT FROM t WHERE id = %s", [number]).fetchall()), every=0
    )


@contextmanager
def bucardo(server: str, databases: tuple[str, str]) -> Iterator[None]:
    """Let Bucardo replicate the table from the first database to the second one."""
    execute(
        server,
        f"CREATE ROLE bucardo SUPERUSER LOGIN PASSWORD '{PASSWORD}'",
        "CREATE DATABASE bucardo OWNER bucardo",
    )
    script = ["psql", "-q", make_conninfo(server, dbname="bucardo"), "-f", str(SCHEMA)]
    subprocess.run(script, check=True, capture_output=True)
    where = conninfo_to_dict(server)
    place = [f"host={where['host']}", f"port={where['port']}", "user=bucardo", f"pass={PASSWORD}"]
    with TemporaryDirectory() as folder:

        def run(*words: str) -> None:
            options = [f"--db{option}" for option in [*place, "name=bucardo"]]
            command = ["bucardo", *options, f"--piddir={folder}", f"--log-dest={folder}", *words]
            subprocess.run(command, check=True, capture_output=True, cwd=folder)

        for name in databases:
            run("add", "db", name, f"dbname={name}", *place)
        run("add", "table", "t", f"db={databases[0]}", "relgroup=tables")
        run("add", "sync", "both", "relgroup=tables", f"dbs={databases[0]}:source,{databases[1]}")
        run("start")
        try:
            yield
        finally:
            run("stop")
            # A process that cleans up sleeps for two minutes before it looks whether to end.
            for file in Path(folder).glob("*.pid"):
                with suppress(OSError):
                    os.kill(int(file.read_text().split()[0]), signal.SIGTERM)


@contextmanager
def applier(source: str, target: str) -> Iterator[None]:
    """Let an applier replicate the table, as a process of its own."""
    execute(source, "CREATE PUBLICATION p FOR TABLE t")
    command = [sys.executable, apply.__file__, source, target, "FFFFFFFF/0"]
    process = subprocess.Popen(command)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def main() -> None:
    if absent := missing():
        print(f"bucardo: left out; install {' and '.join(absent)} to compare with it")
        return
    with Lab() as lab:
        node = lab.primary(version=servers_with_perl()[0].version.major, settings=apply.SETTINGS)
        names = ("ours_from", "ours_to", "theirs_from", "theirs_to")
        execute(node.conninfo, *(f"CREATE DATABASE {name}" for name in names))
        places = [make_conninfo(node.conninfo, dbname=name) for name in names]
        for place in places:
            execute(place, apply.TABLE)
        with applier(*places[:2]):
            ours = measured(*places[:2])
        with bucardo(node.conninfo, ("theirs_from", "theirs_to")):
            theirs = measured(*places[2:])
    for what, own, other in zip(
        (f"{CHANGES:,} transactions of one row, until the last is visible", "median of one row"),
        *(ours, theirs),
        strict=True,
    ):
        print(f"{what}: {own:.4f} s, Bucardo {other:.4f} s, {other / own:.3g} times as fast")


if __name__ == "__main__":
    main()
