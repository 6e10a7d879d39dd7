"""Clusters for operations: a primary, standbys, and a writer that writes all the time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import cast

import attrs
import psycopg
from clusters import run
from colours import Awaited, Colour

from pgreplkit import AsyncCluster, Cluster, NodeControl
from pgreplkit.lab import Lab, Node


@attrs.frozen
class Tree:
    """``a`` writes, ``b`` and ``c`` follow it, ``d`` follows ``b``."""

    nodes: dict[str, Node]

    def __getitem__(self, name: str) -> Node:
        return self.nodes[name]

    @property
    def servers(self) -> dict[str, str]:
        return {name: node.conninfo for name, node in self.nodes.items()}

    @property
    def controls(self) -> dict[str, NodeControl]:
        return {name: node.control for name, node in self.nodes.items()}

    async def discover(self, colour: Colour, **controls: NodeControl) -> AsyncCluster:
        """Discover the cluster in one colour; keywords replace the controls of nodes."""
        return await discover(self.servers, colour, self.controls | controls)


async def discover(
    servers: dict[str, str], colour: Colour, controls: dict[str, NodeControl] | None = None
) -> AsyncCluster:
    """Discover a cluster in one colour."""
    if colour.name == "async":
        return await AsyncCluster.discover(servers, controls=controls)
    return cast(AsyncCluster, Planning(Cluster.discover(servers, controls=controls)))


class Planning(Awaited):
    """A sync cluster or plan behind the async interface."""

    def __getattr__(self, name: str) -> object:
        value = super().__getattr__(name)
        if not (isinstance(self._target, Cluster) and name.startswith("plan_")):
            return value

        async def planned(*args: object, **kwargs: object) -> object:
            return Planning(getattr(self._target, name)(*args, **kwargs))

        return planned

    def __getitem__(self, name: str) -> object:
        return cast(Cluster, self._target)[name]

    def __str__(self) -> str:
        return str(self._target)


def grow(lab: Lab, version: int, *, leaf: bool = True, slots: bool = True) -> Tree:
    """Start a new tree; with ``leaf``, it has the fourth node."""
    keep: dict[str, str | int] = (
        {"wal_keep_size": "128MB"} if version >= 13 else {"wal_keep_segments": 8}
    )
    a = lab.primary(version=version, name="a", settings={"wal_log_hints": True, **keep})
    run(a, "CREATE TABLE written (id int PRIMARY KEY)")
    nodes = {"a": a}
    for name, upstream in {"b": "a", "c": "a", **({"d": "b"} if leaf else {})}.items():
        slot = f"slot_{name}" if slots else None
        nodes[name] = lab.standby(nodes[upstream], slot=slot, name=name)
    return Tree(nodes)


class Writer:
    """Commits one row after another on the writable server, and records the acknowledged ones."""

    def __init__(self, nodes: list[Node]) -> None:
        self.acknowledged: list[int] = []
        self._over = threading.Event()
        self._conninfo = psycopg.conninfo.make_conninfo(
            nodes[0].conninfo,
            host=",".join(node.host for node in nodes),
            port=",".join(str(node.port) for node in nodes),
            target_session_attrs="read-write",
            connect_timeout=2,
        )
        self._thread = threading.Thread(target=self._write)

    def _write(self) -> None:
        numbers = count(1)
        while not self._over.is_set():
            try:
                with psycopg.connect(self._conninfo, autocommit=True) as connection:
                    self._write_in(connection, numbers)
            except psycopg.Error:
                # Each attempt connects to all servers, and may take longer than their own work.
                self._over.wait(0.05)

    def _write_in(self, connection: psycopg.Connection, numbers: Iterator[int]) -> None:
        while not self._over.is_set():
            number = next(numbers)
            connection.execute("INSERT INTO written VALUES (%s)", [number])
            self.acknowledged.append(number)
            # Each commit wakes the walsenders and all standbys: with a shorter pause, the writer
            # needs more CPU than the operation.
            self._over.wait(0.01)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()


def written(node: Node) -> set[int]:
    """Return the rows of a server."""
    with psycopg.connect(node.conninfo) as connection:
        return {number for (number,) in connection.execute("SELECT id FROM written")}


@contextmanager
def writing(tree: Tree, *nodes: str) -> Iterator[Writer]:
    """Write during the block; the writer has committed rows before and after it."""
    with Writer([tree[name] for name in nodes]) as writer:
        _until_more(writer)
        yield writer
        _until_more(writer)


def _until_more(writer: Writer) -> None:
    before = len(writer.acknowledged)
    deadline = threading.Event()
    for _ in range(600):
        if len(writer.acknowledged) > before + 5:
            return
        deadline.wait(0.05)
    raise AssertionError("nothing could be written for 30 seconds")
