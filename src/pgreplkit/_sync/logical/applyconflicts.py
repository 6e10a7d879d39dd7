# Generated from pgreplkit/_async/logical/applyconflicts.py by `nox -s sync`. Do not edit.
"""ConflictLog: the conflicts of a run, counted, and recorded within a rate."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

from psycopg.types.json import Jsonb

from pgreplkit._sync.logical.keytexts import read_key_texts
from pgreplkit._sync.wire.link import Link
from pgreplkit.apply.conflicts import RECORDED_PER_MINUTE, Conflict, Conflicts, Place
from pgreplkit.catalog.logical import applying as sql
from pgreplkit.plans.logical.applying import ConflictKind
from pgreplkit.protocol.pgoutput.rows import Row
from pgreplkit.protocol.rawtransactions import RawTransaction

_KEPT = timedelta(days=30)
"""The time for which conflicts are kept."""
_PRUNED_EVERY = 86_400
"""Seconds between removals of older ones: a run can last for months."""


class ConflictLog:
    """Counts the conflicts of a run, and records some of them.

    A row for each conflict could cost more than the changes themselves.
    """

    def __init__(self, reader: Link, applier: str, counts: Counter[ConflictKind]) -> None:
        self._reader, self._applier, self._counts = reader, applier, counts
        self._numbers: Counter[Place] = Counter()
        """The numbers of conflicts in the minute."""
        self._minute = 0
        self._waiting: list[tuple[Conflict, RawTransaction[Row]]] = []
        """Conflicts that were met and are not in the log yet."""
        self._pruned_at = time.monotonic()

    def within_rate(self, conflicts: Conflicts) -> list[Conflict]:
        """Return the conflicts that may be recorded."""
        if (minute := int(time.monotonic() // 60)) != self._minute:
            self._minute = minute
            self._numbers.clear()
        numbers, found = self._numbers.copy(), []
        for conflict in conflicts.kept:
            numbers[conflict.place] += 1
            if numbers[conflict.place] <= RECORDED_PER_MINUTE:
                found.append(conflict)
        return found

    def count(self, conflicts: Conflicts) -> None:
        """Count the conflicts of a transaction that is committed."""
        self._numbers.update(conflicts.numbers)
        for (_, kind), number in conflicts.numbers.items():
            self._counts[kind] += number

    def add(self, transaction: RawTransaction[Row], conflicts: Conflicts) -> None:
        """Count conflicts; ``write`` records those that are within the rate."""
        self._waiting += [(conflict, transaction) for conflict in self.within_rate(conflicts)]
        self.count(conflicts)

    def write(self) -> None:
        """Record the conflicts that wait for it, and remove old ones from time to time."""
        if self._waiting:
            found, self._waiting = self._waiting, []
            self.record(self._reader, found)
        if time.monotonic() - self._pruned_at > _PRUNED_EVERY:
            self.prune()

    def prune(self) -> None:
        """Remove conflicts that were kept for long enough."""
        self._pruned_at = time.monotonic()
        self._reader.all("remove old conflicts", sql.PRUNE_CONFLICTS, [self._applier, _KEPT])

    def record(self, link: Link, conflicts: Sequence[tuple[Conflict, RawTransaction[Row]]]) -> None:
        """Write conflicts into the log, with their transactions."""
        if not conflicts:
            return
        # Of the other session, whose settings may change for the texts of the keys.
        keys = read_key_texts(self._reader, [conflict.step for conflict, _ in conflicts])
        # One statement for all: a round trip and a commit for each would cost more than the
        # changes.
        rows = [
            (
                str(conflict.kind.value),
                conflict.table,
                Jsonb(key),
                conflict.resolution,
                transaction.xid,
                transaction.end_lsn,
            )
            for key, (conflict, transaction) in zip(keys, conflicts, strict=True)
        ]
        columns = [[*column] for column in zip(*rows, strict=True)]
        link.all("record conflicts", sql.ADD_CONFLICTS, [self._applier, *columns])
