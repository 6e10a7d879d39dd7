"""Measure the CPU time and punctuality of a Watch of 200 servers, once a second."""

from __future__ import annotations

import asyncio
import time

from pgreplkit import AsyncWatch, Watch
from pgreplkit.lab import Lab

SERVERS, ROUNDS = 200, 8


def sync_rounds(servers: dict[str, str]) -> tuple[float, float, int]:
    with Watch(servers, interval=1.0) as watch:
        next(watch)  # connects
        started, cpu = time.monotonic(), time.process_time()
        samples = watch.take(ROUNDS)
    return figures(samples, started, cpu)


async def async_rounds(servers: dict[str, str]) -> tuple[float, float, int]:
    async with AsyncWatch(servers, interval=1.0) as watch:
        await anext(watch)
        started, cpu = time.monotonic(), time.process_time()
        samples = await watch.take(ROUNDS)
    return figures(samples, started, cpu)


def figures(samples: object, started: float, cpu: float) -> tuple[float, float, int]:
    """Return CPU seconds per round, seconds per round, and the number of missing answers."""
    spent, passed = time.process_time() - cpu, time.monotonic() - started
    missing = sum(record["error"] is not None for record in samples.to_records())
    return spent / ROUNDS, passed / ROUNDS, missing


def main() -> None:
    with Lab() as lab:
        primary = lab.primary(settings={"max_connections": 250})
        standbys = [lab.standby(primary, slot=f"replica{n}") for n in (1, 2)]
        nodes = [primary, *standbys]
        servers = {f"server{n}": nodes[n % 3].conninfo for n in range(SERVERS)}
        for name, run in {
            "in threads": lambda: sync_rounds(servers),
            "in an event loop": lambda: asyncio.run(async_rounds(servers)),
        }.items():
            cpu, passed, missing = run()
            print(
                f"watch {SERVERS} servers every second {name}: {cpu:.2f} CPU seconds a round,"
                f" a round each {passed:.2f} s, {missing} answers missing"
            )


if __name__ == "__main__":
    main()
