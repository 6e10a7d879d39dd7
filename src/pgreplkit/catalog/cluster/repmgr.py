"""RepmgrNode and RepmgrEvent: rows of the tables in which repmgr describes a cluster."""

from datetime import datetime

import attrs

from pgreplkit.catalog.view import View
from pgreplkit.values.openenum import OpenEnum
from pgreplkit.values.record import Record


class RepmgrType(OpenEnum):
    """The type with which repmgr registered a node."""

    PRIMARY = "primary"
    STANDBY = "standby"
    WITNESS = "witness"


@attrs.frozen(kw_only=True)
class RepmgrNode(Record):
    """One row of repmgr.nodes: the registration of a node, which may be out of date.

    Source:
        repmgr.nodes of repmgr 4.0 and later.
    """

    node_id: int
    upstream_node_id: int | None
    active: bool
    node_name: str
    type: RepmgrType = attrs.field(converter=RepmgrType)
    location: str
    priority: int
    """Preference as a candidate for promotion; 0 excludes the node."""
    conninfo: str = attrs.field(repr=False)
    """Connection string of repmgr; it may contain a password."""
    slot_name: str | None


@attrs.frozen(kw_only=True)
class RepmgrEvent(Record):
    """One row of repmgr.events: an action or an observation of repmgr.

    Source:
        repmgr.events.
    """

    node_id: int
    event: str
    successful: bool
    event_timestamp: datetime
    details: str | None


REPMGR_NODES = View(RepmgrNode, "repmgr.nodes ORDER BY node_id")
REPMGR_EVENTS = View(RepmgrEvent, "repmgr.events ORDER BY event_timestamp DESC LIMIT %s::bigint")
# to_regclass() raises an error for a schema that the role may not use, so the catalogs are read.
HAS_REPMGR = """
    SELECT count(*) = 2 AS is_so FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace
    WHERE nspname = 'repmgr' AND relname IN ('nodes', 'events')
        AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
            AND pg_catalog.has_table_privilege(pg_class.oid, 'SELECT')
"""
