"""Policies on a server: rows after random changes, compared with a model of the documentation."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, timedelta

import attrs
import psycopg
import pytest
from clusters import Clusters
from databases import Database, end, make_database, remove_databases

from pgreplkit.apply import (
    Applier,
    ApplyRemote,
    DeltaColumns,
    KeepLocal,
    LastUpdateWins,
    Membership,
    MergeWith,
    NodePriority,
    Policy,
)
from pgreplkit.changes import Row

pytestmark = [pytest.mark.pg(">=10"), pytest.mark.one_colour]
RANKS = {"x": 2, "y": 3, "z": 1}
"""x sends the changes, z gets them; the rows of z may be of any node."""
PRIORITY = ("y", "x", "z")
KEYS, MOVED = 120, 1000
_TIMELESS = (ApplyRemote, KeepLocal)
MICROSECOND = timedelta(microseconds=1)
Values = tuple[str, int]


@attrs.frozen
class Change:
    """A committed change of x: ``new`` is None if it deletes the row."""

    key: int
    old: Values | None
    new: Values | None
    at: datetime
    to: int | None = None
    """The new key of a row that is moved."""


@attrs.frozen
class State:
    """What z has of a key: its row, or the deletion that it remembers."""

    row: Values | None = None
    at: datetime | None = None
    node: str = "z"
    is_deleted: bool = False


class Model:
    """The rows of z, as the documentation of the policies says; it shares no code with them."""

    def __init__(self, policy: Policy, ties: str, states: dict[int, State]) -> None:
        self._policy, self._ties, self.states = policy, ties, states

    def rows(self) -> dict[int, Values]:
        return {key: one.row for key, one in self.states.items() if one.row is not None}

    def apply(self, change: Change) -> None:
        if change.to is not None:
            state, follows = self.states.get(change.key), isinstance(self._policy, _TIMELESS)
            if follows and (state is None or state.row is None):
                # An update of a missing row is skipped.
                return
            # A change of the key is a deletion and an insert.
            self._apply(attrs.evolve(change, new=None))
            self._apply(attrs.evolve(change, key=change.to, old=None))
        else:
            self._apply(change)

    def _apply(self, change: Change) -> None:
        local = self.states.get(change.key, State())
        new = self._decided(local, change)
        if new is not None:
            self.states[change.key] = new

    def _decided(self, local: State, change: Change) -> State | None:
        policy, row = self._policy, local.row
        theirs = State(change.new, change.at, "x")
        buried = State(None, change.at, "x", is_deleted=True)
        if isinstance(policy, DeltaColumns):
            if change.new is None:
                return buried
            if local.is_deleted:
                return None
            added = change.new[1] - (change.old[1] if change.old else 0)
            if row is None:
                return State((change.new[0], added), change.at, "x")
            if self._is_newer(change, local):
                return State((change.new[0], row[1] + added), change.at, "x")
            return attrs.evolve(local, row=(row[0], row[1] + added))
        if isinstance(policy, LastUpdateWins):
            if not self._is_newer(change, local):
                return None
            return buried if change.new is None else theirs
        if isinstance(policy, NodePriority):
            before = PRIORITY.index(local.node) < PRIORITY.index("x")
            if row is not None and before:
                return None
            return State(None) if change.new is None else theirs
        if change.new is None:
            return State(None)
        if isinstance(policy, MergeWith):
            if row is None or (change.old is not None and change.old == row):
                return theirs
            return State((row[0], row[1] + change.new[1]), change.at, "x")
        if change.old is not None:
            return theirs if row is not None else None
        return None if isinstance(policy, KeepLocal) and row is not None else theirs

    def _is_newer(self, change: Change, local: State) -> bool:
        if local.at is None or change.at != local.at:
            return local.at is None or change.at > local.at
        if self._ties == "rank":
            return RANKS["x"] >= RANKS[local.node]
        if change.new is None or local.row is None:
            return change.new is None
        return as_text(change.new, self._policy) >= as_text(local.row, self._policy)


def as_text(row: Values, policy: Policy) -> bytes:
    # Without the columns to which differences are added.
    return (row[0] if isinstance(policy, DeltaColumns) else f"{row[0]},{row[1]}").encode()


def add(local: Row, remote: Row) -> dict[str, object]:
    return {"n": int(str(local["n"])) + int(str(remote["n"]))}


def origin_of(database: Database, node: str) -> str:
    """Return the origin of a node's commits, which is dropped with the database's content."""
    return f"pgreplkit_{database.name}_as_{node}"


class Writer:
    """A session whose commits are those of a node at a given time."""

    def __init__(self, database: Database, node: str) -> None:
        self._connection = psycopg.connect(database.conninfo)
        setup = "SELECT pg_replication_origin_create(%s), pg_replication_origin_session_setup(%s)"
        self._connection.execute(setup, [origin_of(database, node)] * 2)
        self._connection.commit()

    def run(self, at: datetime, statement: str, *values: object) -> None:
        self._connection.execute(statement.encode(), values)
        self._connection.execute("SELECT pg_replication_origin_xact_setup('0/1', %s)", [at])
        self._connection.commit()

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def two(clusters: Clusters, major: int) -> Iterator[tuple[Database, Database]]:
    node = clusters.tracking(major)
    both = make_database(node), make_database(node)
    for each in both:
        each.run(
            "CREATE TABLE t (id int PRIMARY KEY, name text, n int NOT NULL)",
            "ALTER TABLE t REPLICA IDENTITY FULL",
        )
    yield both
    remove_databases(*both)


def changes_of(source: Database, chance: random.Random, moves: bool) -> list[Change]:
    """Change random rows of the source, each in its own transaction."""
    rows = dict[int, Values]()
    for row in source.all("SELECT id, name, n FROM t"):
        rows[int(str(row[0]))] = str(row[1]), int(str(row[2]))
    made = list[Change]()
    with psycopg.connect(source.conninfo) as connection:
        for number in range(3 * KEYS):
            key = chance.randrange(KEYS)
            old, to = rows.pop(key, None), None
            # Spellings such that either text may be the greater one.
            new: Values | None = chance.choice("abé") + f"{number % 3}", chance.randrange(9)
            if old is None:
                connection.execute("INSERT INTO t VALUES (%s, %s, %s)", [key, *(new or ())])
            elif chance.random() < 0.3:
                new = None
                connection.execute("DELETE FROM t WHERE id = %s", [key])
            else:
                if moves and chance.random() < 0.2:
                    to = MOVED + number
                update = "UPDATE t SET id = %s, name = %s, n = %s WHERE id = %s"
                connection.execute(update, [to or key, *(new or ()), key])
            [xid] = connection.execute("SELECT txid_current()::text").fetchone() or ["0"]
            connection.commit()
            asked = connection.execute("SELECT pg_xact_commit_timestamp(%s::xid)", [xid])
            [at] = asked.fetchone() or [None]
            assert isinstance(at, datetime)
            if new is not None:
                rows[to or key] = new
            made.append(Change(key, old, new, at, to))
    return made


def states_of(
    target: Database, chance: random.Random, changes: list[Change], nodes: str
) -> dict[int, State]:
    """Write and delete rows of the target, at the times of the source's changes or beside them."""
    times: dict[int, list[datetime]] = {}
    for change in changes:
        times.setdefault(change.key, []).append(change.at)
    writers = {node: Writer(target, node) for node in nodes}
    states = {
        int(str(key)): State((str(name), int(str(n))), datetime.fromisoformat(str(at)), "z")
        for key, name, n, at in target.all(
            "SELECT id, name, n, pg_xact_commit_timestamp(xmin)::text FROM t"
        )
    }
    for key, found in times.items():
        if chance.random() < 0.25:
            continue
        node = chance.choice(nodes)
        at = chance.choice(found) + chance.choice([-1, 0, 0, 1]) * MICROSECOND
        name, n = chance.choice("abé") + "1", chance.randrange(9)
        if key in states and chance.random() < 0.4:
            writers[node].run(at, "DELETE FROM t WHERE id = %s", key)
            states[key] = State(None, at, node, is_deleted=True)
            continue
        upsert = (
            "INSERT INTO t VALUES (%s, %s, %s)"
            " ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name, n = EXCLUDED.n"
        )
        writers[node].run(at, upsert, key, name, n)
        states[key] = State((name, n), at, node)
    for writer in writers.values():
        writer.close()
    return states


@pytest.mark.parametrize(
    "policy",
    [
        LastUpdateWins(),
        DeltaColumns({"t": ["n"]}),
        NodePriority(PRIORITY),
        MergeWith(add),
        ApplyRemote(),
        KeepLocal(),
    ],
    ids=lambda policy: type(policy).__name__,
)
def test_rows_are_those_of_a_model_of_the_policy(
    two: tuple[Database, Database], policy: Policy, major: int
) -> None:
    if isinstance(policy, NodePriority) and major < 14:
        pytest.skip("it needs the origins of commits")
    source, target = two
    chance = random.Random(f"{type(policy).__name__}{major}")
    for each, keys in ((source, range(0, KEYS, 2)), (target, range(0, KEYS, 3))):
        each.run(
            "CREATE PUBLICATION p FOR TABLE t",
            *(f"INSERT INTO t VALUES ({key}, 'a', 1)" for key in keys),
        )
    # Before 14 a server does not know who committed a row, so that texts decide.
    ties, nodes = ("rank", "xyz") if major >= 14 else ("row", "z")
    applier = Applier(
        source.conninfo,
        target.conninfo,
        "policy",
        publications=["p"],
        conflicts=policy,
        membership=Membership(
            node="z",
            source="x",
            ranks=RANKS,
            origins={"pgreplkit_policy": "x"} | {origin_of(target, n): n for n in nodes},
            ties=ties,
        ),
        origin="none",
        copy=False,
    )
    applier.run(stop_at=end(source), timeout=60)
    moves = not isinstance(policy, MergeWith)
    changes = changes_of(source, chance, moves)
    model = Model(policy, ties, states_of(target, chance, changes, nodes))
    applier.run(stop_at=end(source), timeout=60)
    for change in changes:
        model.apply(change)
    found = {
        int(str(key)): (str(name), int(str(n)))
        for key, name, n in target.all("SELECT id, name, n FROM t")
    }
    differing = {
        key: (model.rows().get(key), found.get(key), [c for c in changes if key in (c.key, c.to)])
        for key in model.rows().keys() | found.keys()
        if model.rows().get(key) != found.get(key)
    }
    assert differing == {}
    applier.drop()
