"""Compare the write outage of a switchover with a plain stop and promotion by pg_ctl."""

from __future__ import annotations

import time
from statistics import median

from pgreplkit import Cluster, Primary
from pgreplkit.lab import Lab, Node

ROUNDS = 5


def by_hand(old: Node, new: Node) -> float:
    """Return the seconds that pg_ctl needs to stop one server and promote the other."""
    with old.connect() as server, new.connect() as standby:
        server.connection.execute("CHECKPOINT")
        assert isinstance(server, Primary), standby
    began = time.perf_counter()
    old.stop()
    new.promote()
    return time.perf_counter() - began


def main() -> None:
    """Switch over with the library and back by hand, several times."""
    with Lab() as lab:
        a = lab.primary(name="a")
        b = lab.standby(a, slot="b", name="b")
        nodes = {"a": a, "b": b}
        cluster = Cluster.discover(
            {name: node.conninfo for name, node in nodes.items()},
            controls={name: node.control for name, node in nodes.items()},
        )
        ours, theirs, whole = [], [], []
        for _ in range(ROUNDS):
            result = cluster.plan_switchover("b").run()
            assert result.write_outage is not None
            ours.append(result.write_outage.total_seconds())
            whole.append(result.elapsed.total_seconds())
            theirs.append(by_hand(b, a))
            cluster.plan_rejoin("b").run()
        ratio = median(ours) / median(theirs)
        print(f"switchover: write outage {median(ours):.3f} s, of {median(whole):.3f} s in all;")
        print(f"  pg_ctl stop and promote: {median(theirs):.3f} s; ratio {ratio:.2f} (limit 1.5)")


if __name__ == "__main__":
    main()
