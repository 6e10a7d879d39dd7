"""Compare plan_clone with pg_basebackup on the same data."""

from __future__ import annotations

import shutil
import time
from statistics import median

from pgreplkit import LocalControl, plan_clone
from pgreplkit.lab import Lab

ROUNDS, ROWS = 3, 300_000


def main() -> None:
    """Copy about 300 MB, alternately with the library and with pg_basebackup."""
    with Lab() as lab:
        primary = lab.primary()
        with primary.connect() as server:
            server.connection.execute(
                "CREATE TABLE filled AS SELECT repeat('x', 1000) FROM generate_series(1, %s)",
                [ROWS],
            )
        target = lab.root / "target"
        control = LocalControl(target, bindir=primary.installation.bindir)
        plain = [f"--dbname={primary.conninfo}", f"--pgdata={target}", "--checkpoint=fast"]
        ours, theirs = [], []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            plan_clone(
                primary.conninfo, target, control=control, checkpoint="fast", start_server=False
            ).run()
            ours.append(time.perf_counter() - began)
            shutil.rmtree(target)
            began = time.perf_counter()
            control.run("pg_basebackup", plain)
            theirs.append(time.perf_counter() - began)
            shutil.rmtree(target)
        ratio = median(ours) / median(theirs)
        print(f"clone: {median(ours):.2f} s; pg_basebackup: {median(theirs):.2f} s;", end="")
        print(f" ratio {ratio:.2f} (limit 1.1)")


if __name__ == "__main__":
    main()
