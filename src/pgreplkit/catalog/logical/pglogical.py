"""Rows of pglogical 2.4: replication sets, subscriptions, and the state of their tables."""

from datetime import timedelta

import attrs

from pgreplkit.catalog.view import View, column
from pgreplkit.values.lsn import LSN
from pgreplkit.values.openenum import OpenEnum
from pgreplkit.values.record import Record
from pgreplkit.values.tablename import TableName


class PglogicalStatus(OpenEnum):
    """The status of a pglogical subscription."""

    INITIALIZING = "initializing"
    REPLICATING = "replicating"
    DOWN = "down"
    """It has no worker: the worker failed, and will be restarted."""
    DISABLED = "disabled"
    UNKNOWN = "unknown"


class PglogicalSync(OpenEnum):
    """The state of a pglogical subscription's table, or of the whole subscription."""

    INIT = "i"
    STRUCTURE = "s"
    DATA = "d"
    CONSTRAINTS = "c"
    SYNC_WAIT = "w"
    CATCH_UP = "u"
    """It waits for the provider's next commit; ``write_marker`` of the provider commits one."""
    SYNC_DONE = "y"
    READY = "r"


@attrs.frozen(kw_only=True)
class ReplicationSet(Record):
    """A set of tables and sequences to which subscriptions subscribe.

    Source: pglogical.replication_set.
    """

    set_name: str
    replicate_insert: bool
    replicate_update: bool
    replicate_delete: bool
    replicate_truncate: bool


SETS = View(
    ReplicationSet,
    """pglogical.replication_set JOIN pglogical.local_node ON node_id = set_nodeid
    ORDER BY set_name""",
)


@attrs.frozen(kw_only=True)
class PglogicalState(Record):
    """A pglogical subscription when it was last read.

    It omits the provider's connection string, which may hold a password.

    Source: pglogical.show_subscription_status(), pglogical.subscription.
    """

    sub_name: str
    status: PglogicalStatus = attrs.field(converter=PglogicalStatus)
    provider_node: str
    slot_name: str
    """Its slot on the provider."""
    replication_sets: tuple[str, ...] = attrs.field(converter=tuple)
    forward_origins: tuple[str, ...] = attrs.field(
        converter=tuple, metadata=column(sql="coalesce(sub_forward_origins, '{}')")
    )
    """"all", or empty: only changes of the provider's own clients."""
    apply_delay: timedelta = attrs.field(metadata=column(sql="sub_apply_delay"))


_SHOWN = """pglogical.subscription
    CROSS JOIN LATERAL pglogical.show_subscription_status(sub_name) AS shown"""
STATES = View(PglogicalState, f"{_SHOWN} ORDER BY sub_name")
ONE_STATE = View(PglogicalState, f"{_SHOWN} WHERE sub_name = %s::name")


@attrs.frozen(kw_only=True)
class PglogicalTable(Record):
    """A table of a pglogical subscription, with its state.

    Source: pglogical.local_sync_status.
    """

    table: TableName | None
    """None for the subscription as a whole."""
    status: PglogicalSync = attrs.field(converter=PglogicalSync)
    lsn: LSN | None


SYNC = """
    SELECT sync_nspname AS schema, sync_relname AS name, sync_status AS status,
        nullif(sync_statuslsn, '0/0') AS lsn
    FROM pglogical.local_sync_status JOIN pglogical.subscription ON sub_id = sync_subid
    WHERE sub_name = %s::name ORDER BY 1 NULLS FIRST, 2
"""
SET_TABLES = """
    SELECT nspname AS schema, relname AS name, set_att_list AS columns,
        pg_catalog.pg_get_expr(set_row_filter, set_reloid) AS where
    FROM pglogical.replication_set_table JOIN pglogical.replication_set USING (set_id)
    JOIN pg_class ON pg_class.oid = set_reloid JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE set_name = %s::name ORDER BY 1, 2
"""
SET_SEQUENCES = """
    SELECT nspname AS schema, relname AS name
    FROM pglogical.replication_set_seq JOIN pglogical.replication_set USING (set_id)
    JOIN pg_class ON pg_class.oid = set_seqoid JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE set_name = %s::name ORDER BY 1, 2
"""
NODE_NAME = "SELECT node_name AS name FROM pglogical.local_node JOIN pglogical.node USING (node_id)"
IS_INSTALLED = "SELECT extversion AS version FROM pg_extension WHERE extname = 'pglogical'"

CREATE_NODE = "SELECT pglogical.create_node(%s::name, %s::text)"
DROP_NODE = "SELECT pglogical.drop_node(%s::name)"
CREATE_SET = """
    SELECT pglogical.create_replication_set(%s::name, %s::boolean, %s::boolean, %s::boolean,
        %s::boolean)
"""
DROP_SET = "SELECT pglogical.drop_replication_set(%s::name)"
ADD_TABLE = """
    SELECT pglogical.replication_set_add_table(%s::name, %s::text::regclass, %s::boolean,
        %s::text[], %s::text)
"""
REMOVE_TABLE = "SELECT pglogical.replication_set_remove_table(%s::name, %s::text::regclass)"
ADD_SEQUENCE = """
    SELECT pglogical.replication_set_add_sequence(%s::name, %s::text::regclass, %s::boolean)
"""
SYNC_SEQUENCE = "SELECT pglogical.synchronize_sequence(%s::text::regclass)"
SUBSCRIBE = """
    SELECT pglogical.create_subscription(%s::name, %s::text, %s::text[], %s::boolean, %s::boolean,
        %s::text[], %s::interval)
"""
DROP = "SELECT pglogical.drop_subscription(%s::name)"
ENABLE = "SELECT pglogical.alter_subscription_enable(%s::name)"
DISABLE = "SELECT pglogical.alter_subscription_disable(%s::name)"
ADD_SET = "SELECT pglogical.alter_subscription_add_replication_set(%s::name, %s::name)"
REMOVE_SET = "SELECT pglogical.alter_subscription_remove_replication_set(%s::name, %s::name)"
RESYNC = """
    SELECT pglogical.alter_subscription_resynchronize_table(%s::name, %s::text::regclass, true)
"""
