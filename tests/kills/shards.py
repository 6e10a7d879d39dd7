"""Split 2 shards into 4 under writers: every key must be in exactly one place, with its last value.

Usage: python tests/kills/shards.py [seconds of writing] [seed]
"""

from __future__ import annotations

import random
import sys
import threading
import time
from typing import cast

import psycopg

import pgreplkit
from pgreplkit import Primary, PublishedTable, ShardMap
from pgreplkit.lab import Lab

READ_ONLY = "25006"
WRITERS, KEYS = 4, 400


class Clients:
    """Writers that choose the shard of each key, and repeat what a fence refuses."""

    def __init__(self, shards: ShardMap, conninfos: list[str], seed: int) -> None:
        self.shards, self.conninfos = shards, conninfos
        self.seen = [shards] * WRITERS
        self.values: dict[str, int | None] = {}
        """The last acknowledged value of each key; None for a deleted row."""
        self.written = self.refused = 0
        self.stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._write, args=(number, random.Random(seed + number)))
            for number in range(WRITERS)
        ]
        for thread in self._threads:
            thread.start()

    def switch(self, shards: ShardMap) -> None:
        """Let all writers use another map, and wait until none has the old one."""
        self.shards = shards
        while any(seen is not shards for seen in self.seen):
            time.sleep(0.001)

    def stop(self) -> None:
        self.stopped.set()
        for thread in self._threads:
            thread.join()

    def _write(self, number: int, choice: random.Random) -> None:
        connections = [psycopg.connect(c, autocommit=True) for c in self.conninfos]
        value = 0
        while not self.stopped.is_set():
            value += 1
            key, row = f"w{number}-{choice.randrange(KEYS)}", None if value % 7 == 0 else value
            while not self._written(number, connections, key, row):
                self.refused += 1
                if self.stopped.wait(0.002):
                    return
            self.values[key] = row
            self.written += 1
        for connection in connections:
            connection.close()

    def _written(
        self, number: int, connections: list[psycopg.Connection], key: str, row: int | None
    ) -> bool:
        shards = self.seen[number] = self.shards
        connection = connections[shards.index(key)]
        try:
            if row is None:
                connection.execute("DELETE FROM users WHERE name = %s", [key])
            else:
                connection.execute(
                    "INSERT INTO users VALUES (%s, %s) ON CONFLICT (name)"
                    " DO UPDATE SET value = excluded.value",
                    [key, row],
                )
        except psycopg.Error as error:
            if error.sqlstate != READ_ONLY:
                raise
            return False
        return True


def split(clients: Clients, servers: list[Primary], after: ShardMap) -> float:
    """Move what belongs to the new shards; return the seconds in which a fence stood."""
    moves = []
    for old, new in clients.shards.moves_to(after):
        table = PublishedTable("users", where=after.where(new, column="name"))
        publication = servers[old].create_publication(f"move_{new}", tables=[table])
        subscription = servers[new].create_subscription(
            f"move_{new}", servers[old], [f"move_{new}"]
        )
        moves.append((old, new, table, publication, subscription))
    for *_, subscription in moves:
        subscription.wait_for_sync()
    began = time.monotonic()
    fences = [servers[old].fence_writes(["users"]) for old, *_ in moves]
    for old, new, table, _, subscription in moves:
        subscription.wait_for_catchup()
        compared = pgreplkit.compare(servers[old], servers[new], [table])
        assert not [diff for part in compared for diff in part.diffs]
    clients.switch(after)
    for *_, publication, subscription in moves:
        subscription.drop()
        publication.drop()
    for fence in fences:
        fence.lift()
    fenced = time.monotonic() - began
    for old, _, table, *_ in moves:
        servers[old].connection.execute(f"DELETE FROM users WHERE {table.where}".encode())
    return fenced


def main(seconds: float = 3.0, seed: int = 1) -> None:
    with Lab() as lab:
        nodes = [lab.primary(settings={"wal_level": "logical"}) for _ in range(4)]
        servers = [Primary.connect(node.conninfo) for node in nodes]
        for server in servers:
            server.connection.execute("CREATE TABLE users (name text PRIMARY KEY, value int)")
        clients = Clients(ShardMap(2), [node.conninfo for node in nodes], seed)
        try:
            time.sleep(seconds / 2)
            fenced = split(clients, servers, ShardMap(4))
            time.sleep(seconds / 2)
        finally:
            clients.stop()
        found: dict[str, list[tuple[int, int]]] = {}
        for number, server in enumerate(servers):
            for row in server.connection.execute("SELECT name, value FROM users"):
                name, value = cast(tuple[str, int], row)
                found.setdefault(name, []).append((number, value))
            server.close()
        expected = {
            key: [(ShardMap(4).index(key), value)]
            for key, value in clients.values.items()
            if value is not None
        }
        assert found == expected, {k: (found.get(k), expected.get(k)) for k in found | expected}
        shares = [sum(places[0][0] == n for places in found.values()) for n in range(4)]
        print(
            f"{len(found)} keys in exactly one of 4 shards {shares} after {clients.written} writes;"
            f" {clients.refused} were repeated, in {fenced:.2f} s of write fences"
        )


if __name__ == "__main__":
    given = sys.argv[1:] + ["3", "1"][len(sys.argv) - 1 :]
    main(float(given[0]), int(given[1]))
