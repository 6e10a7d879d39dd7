"""Timeline histories of real servers, also those whose switchpoints fall."""

from __future__ import annotations

import pytest
from clusters import Clusters, one
from colours import Colour

import pgreplkit
from pgreplkit import LSN, TimelineHistory

pytestmark = pytest.mark.matrix

FORK = LSN("1/0")


async def test_a_history_with_falling_switchpoints_is_read_from_the_server(
    clusters: Clusters, major: int, colour: Colour
) -> None:
    """A recovery along timeline 2 that ends before timeline 2 began starts timeline 3."""
    lab = clusters.lab
    primary = lab.primary(version=major)
    standby = lab.standby(primary)
    try:
        standby.stop()
        second = standby.data_directory / "pg_wal" / "00000002.history"
        # A restore point has a name in the encoding of its database.
        second.write_bytes(f'1\t{FORK}\tat restore point "caf'.encode() + b'\xe9"\n')
        lab._place.account.chown(second)
        standby.start()
        standby.promote()
        async with await colour.replication(standby.conninfo) as walsender:
            history = await walsender.timeline_history(3)
        assert history.timelines == (1, 2, 3)
        switchpoint = history.switchpoint(2)
        assert switchpoint is not None
        assert history.switchpoint(1) == FORK > switchpoint
        assert history.timeline_of(switchpoint - 1) == 1
        assert history.timeline_of(switchpoint) == history.timeline_of(FORK) == 3
        content = one(standby, "SELECT pg_read_binary_file('pg_wal/00000003.history')")
        assert isinstance(content, bytes)
        assert TimelineHistory.from_bytes(content, timeline=3) == history
        cluster = pgreplkit.Cluster.discover({"db1": standby.conninfo})
        assert cluster.primary is not None
        assert cluster.primary.history == history
    finally:
        lab.remove(standby)
        lab.remove(primary)
