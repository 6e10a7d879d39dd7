"""RepmgrNode and RepmgrEvent: what repmgr keeps about a cluster, in the database that it uses."""

from __future__ import annotations

from datetime import datetime

import attrs

from pgreplkit.catalog.view import View
from pgreplkit.values.openenum import OpenEnum


class RepmgrType(OpenEnum):
    """As what repmgr registered a node."""

    PRIMARY = "primary"
    STANDBY = "standby"
    WITNESS = "witness"


@attrs.frozen(kw_only=True)
class RepmgrNode:
    """One row of repmgr.nodes: what was registered, which may be older than what is.

    Source: repmgr.nodes, of repmgr 4.0 and later.
    """

    node_id: int
    upstream_node_id: int | None
    active: bool
    node_name: str
    type: RepmgrType = attrs.field(converter=RepmgrType)
    location: str
    priority: int
    """Who is preferred among equals when one is to be promoted; 0 is never."""
    conninfo: str = attrs.field(repr=False)
    """How repmgr connects to it; it may hold a password."""
    slot_name: str | None


@attrs.frozen(kw_only=True)
class RepmgrEvent:
    """One row of repmgr.events: what repmgr did, or noticed.

    Source: repmgr.events.
    """

    node_id: int
    event: str
    successful: bool
    event_timestamp: datetime
    details: str | None


REPMGR_NODES = View(RepmgrNode, "repmgr.nodes ORDER BY node_id")
REPMGR_EVENTS = View(RepmgrEvent, "repmgr.events ORDER BY event_timestamp DESC LIMIT %s::bigint")
# By the catalogs, because a name in a schema that the role may not use is an error.
HAS_REPMGR = """
    SELECT count(*) = 2 AS is_so FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace
    WHERE nspname = 'repmgr' AND relname IN ('nodes', 'events')
        AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(pg_class.oid, 'SELECT')
"""
