"""NodeState: role, system identifier and position of a primary or standby, in one row."""

from __future__ import annotations

from datetime import datetime

import attrs

from pgreplkit.catalog.server.expressions import CURRENT_LSN
from pgreplkit.catalog.server.identity import START_TIME, TIMELINE, unsigned_system_id
from pgreplkit.catalog.view import View, column
from pgreplkit.values.lsn import LSN


@attrs.frozen(kw_only=True)
class NodeState:
    """The role, the system identifier and the position of a server at one moment."""

    in_recovery: bool = attrs.field(metadata=column(sql="pg_is_in_recovery()"))
    system_id: int = attrs.field(
        converter=unsigned_system_id,
        metadata=column(sql="(SELECT system_identifier FROM pg_control_system())"),
    )
    started_at: datetime = attrs.field(metadata=column(sql=START_TIME))
    timeline: int = attrs.field(metadata=column(sql=f"({TIMELINE})"))
    lsn: LSN | None = attrs.field(metadata=column(sql=CURRENT_LSN))
    observed_at: datetime = attrs.field(metadata=column(sql="clock_timestamp()"))


NODE_STATE = View(NodeState, "(SELECT) AS one")
