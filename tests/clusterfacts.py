"""Sample facts about clusters, for tests of decisions without servers."""

from __future__ import annotations

from datetime import UTC, datetime

import attrs
import logicalfacts
from hypothesis import strategies as st

from pgreplkit import LSN, ControlFile, ServerVersion, SyncStandbyNames
from pgreplkit.plans.cluster import steps
from pgreplkit.plans.cluster.handover import Handover, UpstreamSettings
from pgreplkit.plans.cluster.steps import Step
from pgreplkit.rows import (
    ClusterNode,
    ControlState,
    PauseState,
    Promotion,
    ReceiverState,
    ReplayStatus,
    SlotState,
    Topology,
)
from pgreplkit.testing import strategies as ours

NOW = datetime(2026, 1, 1, tzinfo=UTC)
names = st.text(min_size=1, max_size=8)
promotions = st.builds(
    Promotion, old_timeline=ours.timelines(), new_timeline=ours.timelines(), switchpoint=ours.lsns()
)
_FIELDS = {"slots": st.lists(names, min_size=1), "major": st.integers(10, 18)}
every_step: st.SearchStrategy[Step] = st.one_of(
    *(
        st.builds(
            kind,
            **{field.name: _FIELDS.get(field.name, names) for field in attrs.fields(kind)},
        )
        for kind in dict.fromkeys(kind for kind in vars(steps).values() if isinstance(kind, type))
        if issubclass(kind, Step) and kind is not Step
    )
)


def handover(**changed: object) -> Handover:
    """A primary ``Db-1`` that hands over to ``db2``; ``db3`` is another standby."""
    version = ServerVersion("16.4")
    old = ClusterNode(name="Db-1", version=version, is_primary=True, system_id=7, timeline=1)
    new, third = (
        ClusterNode(
            name=name,
            version=version,
            is_primary=False,
            system_id=7,
            timeline=1,
            upstream="Db-1",
        )
        for name in ("db2", "db3")
    )
    facts: dict[str, object] = {
        "topology": Topology((old, new, third)),
        "old": old,
        "new": new,
        "followers": (third,),
        "upstream_settings": {
            "db2": UpstreamSettings("two", "app2"),
            "db3": UpstreamSettings("three", "app3"),
        },
        "old_name": "Db-1",
        "address": "host=db2",
        "sync_names": SyncStandbyNames(),
        "new_sync_names": SyncStandbyNames(),
    }
    return Handover(**facts | changed)  # type: ignore[arg-type]


def control_file(**changed: object) -> ControlFile:
    """The control file of a server that was shut down cleanly at 0/4000000 of timeline 1."""
    facts: dict[str, object] = {
        "system_id": 7,
        "state": ControlState.SHUT_DOWN,
        "checkpoint_lsn": LSN("0/4000000"),
        "timeline": 1,
        "min_recovery_lsn": LSN.INVALID,
        "min_recovery_timeline": 0,
        "wal_log_hints": True,
        "data_checksums": False,
    }
    return ControlFile(**facts | changed)  # type: ignore[arg-type]


def replay_status(**changed: object) -> ReplayStatus:
    """A standby that has received and replayed all WAL up to 0/4000000 and streams."""
    facts: dict[str, object] = {
        "received_lsn": LSN("0/4000000"),
        "replayed_lsn": LSN("0/4000000"),
        "last_commit_time": None,
        "pause_state": PauseState.NOT_PAUSED,
        "receiver_pid": 1,
        "receiver_status": ReceiverState.STREAMING,
        "latest_end_lsn": LSN("0/4000000"),
        "last_msg_send_time": None,
        "last_msg_receipt_time": None,
        "observed_at": NOW,
    }
    return ReplayStatus(**facts | changed)  # type: ignore[arg-type]


def slot_state(name: str, **changed: object) -> SlotState:
    """A logical slot with failover that its consumer has confirmed up to 0/3000000."""
    facts: dict[str, object] = {
        "slot_name": name,
        "restart_lsn": LSN("0/2000000"),
        "confirmed_flush_lsn": LSN("0/3000000"),
        "failover": True,
        "synced": False,
        "current_lsn": LSN("0/4000000"),
    }
    return logicalfacts.slot_state(**facts | changed)
