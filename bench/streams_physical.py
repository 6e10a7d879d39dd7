"""Compare WAL streams and base backups with pg_receivewal and pg_basebackup."""

from __future__ import annotations

import os
import resource
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from pgreplkit import LSN, LocalControl, ReplicationConnection, SegmentSize
from pgreplkit.lab import Lab, Node

ROUNDS, ROWS = 3, 500_000


def timed(call: Callable[[], object], folder: Path) -> float:
    """Return the seconds that a call takes to fill a directory, and remove the directory."""
    began = time.perf_counter()
    call()
    seconds = time.perf_counter() - began
    shutil.rmtree(folder)
    return seconds


def compare(
    what: str, beside: str, ours: Callable[[], object], theirs: Callable[[], object], folder: Path
) -> None:
    """Measure both alternately, so that other load on the machine affects both."""
    pairs = [(timed(ours, folder), timed(theirs, folder)) for _ in range(ROUNDS)]
    mine, other = (median(column) for column in zip(*pairs, strict=True))
    print(f"{what}: {mine:.2f} s; {beside}: {other:.2f} s;", end="")
    print(f" rate {other / mine:.2f} of it (limit 0.9)", flush=True)


def main() -> None:
    """Measure with about 600 MB of data and its WAL."""
    with Lab() as lab:
        primary = lab.primary(settings={"wal_keep_size": "8GB", "max_wal_size": "8GB"})
        with primary.connect() as server, server.connection.cursor() as cursor:
            # pg_receivewal ignores the first segment (number 0), so start in the second.
            cursor.execute("SELECT pg_switch_wal()")
            cursor.execute("CREATE TABLE small AS SELECT 1")
            start = LSN(cursor.execute("SELECT pg_current_wal_lsn()::text").fetchone()[0])
            cursor.execute(
                "CREATE TABLE filled AS SELECT g, repeat('x', 1000) FROM generate_series(1, %s) g",
                [ROWS],
            )
            cursor.execute("CHECKPOINT")
            end = LSN(cursor.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()[0])
        wal(lab, primary, start, end)
        backups(lab, primary)
    print(f"most memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB")


def wal(lab: Lab, primary: Node, start: LSN, end: LSN) -> None:
    """Receive the same range of WAL with both, each into an empty directory.

    pg_receivewal starts after the last complete segment in the directory, so one is prepared.
    """
    folder = lab.root / "received"
    control = LocalControl(lab.root / "unused", bindir=primary.installation.bindir)
    before = start.wal_file(timeline=1).previous
    size = SegmentSize.DEFAULT.bytes

    def prepared() -> None:
        folder.mkdir()
        (folder / str(before)).write_bytes(bytes(size))
        # If root runs the benchmark, pg_receivewal runs as the servers' account.
        owner = lab.root.stat()
        for path in (folder, folder / str(before)):
            os.chown(path, owner.st_uid, owner.st_gid)

    def ours() -> None:
        prepared()
        with ReplicationConnection.connect(primary.conninfo) as connection:
            list(connection.receive_wal(folder, stop_at=end))

    def theirs() -> None:
        prepared()
        arguments = [f"--dbname={primary.conninfo}", f"--directory={folder}", f"--endpos={end}"]
        control.run("pg_receivewal", [*arguments, "--no-loop"])

    print(f"{(end - start) >> 20} MiB of WAL")
    compare("receive_wal", "pg_receivewal", ours, theirs, folder)


def backups(lab: Lab, primary: Node) -> None:
    """Take base backups as tar archives and as a data directory."""
    folder = lab.root / "copy"
    control = LocalControl(folder, bindir=primary.installation.bindir)
    plain = [f"--dbname={primary.conninfo}", f"--pgdata={folder}", "--checkpoint=fast"]

    def saved() -> None:
        with ReplicationConnection.connect(primary.conninfo) as connection:
            connection.base_backup(checkpoint="fast").save_tar(folder)

    def extracted() -> None:
        with ReplicationConnection.connect(primary.conninfo) as connection:
            connection.base_backup(checkpoint="fast").extract(folder)

    def theirs(form: str) -> Callable[[], object]:
        return lambda: control.run(
            "pg_basebackup", [*plain, "--wal-method=fetch", f"--format={form}"]
        )

    compare("save_tar", "pg_basebackup -Ft -Xfetch", saved, theirs("tar"), folder)
    compare("extract", "pg_basebackup -Fp -Xfetch", extracted, theirs("plain"), folder)


if __name__ == "__main__":
    main()
