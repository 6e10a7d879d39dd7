"""Compare a scrape of 50 servers with one round of a Watch, in time and CPU."""

from __future__ import annotations

import statistics
import time

from prometheus_client import CollectorRegistry, generate_latest

from pgreplkit import Watch
from pgreplkit.lab import Lab
from pgreplkit.metrics import Collector

SERVERS, ROUNDS = 50, 20


def main() -> None:
    with Lab() as lab:
        primary = lab.primary(settings={"max_connections": 250})
        nodes = [primary, *(lab.standby(primary, slot=f"replica{n}") for n in (1, 2))]
        servers = {f"server{n}": nodes[n % 3].conninfo for n in range(SERVERS)}
        with Watch(servers, interval=0.001, timeout=30) as watch:
            registry = CollectorRegistry()
            registry.register(Collector(watch))
            generate_latest(registry)  # connects
            figures: dict[str, list[tuple[float, float]]] = {"round": [], "scrape": []}
            # In turns, so that the machine's other load is in both.
            for _ in range(ROUNDS):
                for name in figures:
                    started, cpu = time.perf_counter(), time.process_time()
                    next(watch) if name == "round" else generate_latest(registry)
                    spent = time.perf_counter() - started, time.process_time() - cpu
                    figures[name].append(spent)
        passed = {name: statistics.median(p for p, _ in found) for name, found in figures.items()}
        cpu = {name: statistics.median(c for _, c in found) for name, found in figures.items()}
        print(
            f"scrape of {SERVERS} servers: {passed['scrape'] / passed['round']:.2f} x a round of"
            f" a Watch; {1000 * (cpu['scrape'] - cpu['round']) / SERVERS:.2f} ms CPU a server more"
        )


if __name__ == "__main__":
    main()
