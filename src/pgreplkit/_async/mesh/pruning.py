"""AsyncPruning: forgets the deletions of a node that no change on its way can contradict."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime, timedelta

from pgreplkit._async.logical.applyopening import session_of
from pgreplkit._async.logical.tombstones import prune_tombstones
from pgreplkit.catalog.mesh import members as sql
from pgreplkit.plans.mesh.layout import Members, slot_name, without
from pgreplkit.values.lsn import LSN

_EVERY = 60.0
"""Seconds between two looks: tombstones are kept much longer."""
_KEPT = timedelta(hours=1)
"""For clocks that differ, and for a look at what happened."""
_OPERATION = "forget old deletions"


class AsyncPruning:
    """Remembers a time and a position of each source; once the target has applied everything up to
    these positions, deletions that are older than these times are forgotten.
    """

    def __init__(self, mesh: str, servers: Mapping[str, str]) -> None:
        self._mesh, self._servers = mesh, servers
        self._marks: dict[str, dict[str, tuple[datetime, LSN]]] = {}
        self._looked_at: dict[str, float] = {}

    async def look(self, target: str, members: Members) -> int:
        """Forget what may be forgotten, if it is time to look; return the number.

        Raises: ConnectionFailed, also while any source is down: it may have older changes.
        """
        if time.monotonic() - self._looked_at.get(target, -_EVERY) < _EVERY:
            return 0
        self._looked_at[target] = time.monotonic()
        before, self._marks[target] = self._marks.get(target, {}), {}
        has_all = True
        for source in without(members.present, target):
            async with session_of(self._servers[source]) as link:
                slot = [slot_name(self._mesh, source, target)]
                mark = await link.one(_OPERATION, sql.MARK)
                self._marks[target][source] = mark["now"], mark["lsn"]
                records = await link.all(_OPERATION, sql.SLOT_POSITION, slot)
                reached = records[0]["lsn"] if records else LSN.INVALID
                has_all = has_all and source in before and reached >= before[source][1]
        if not has_all or not before:
            return 0
        async with session_of(self._servers[target]) as link:
            oldest = min(at for at, _ in before.values())
            return await prune_tombstones(link, oldest - _KEPT)
