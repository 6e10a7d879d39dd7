"""pglogical: nodes, replication sets and subscriptions of the extension."""

from pgreplkit._public import TYPE_CHECKING, lazy as _lazy

if TYPE_CHECKING:
    from pgreplkit._async.logical.pglogical import (
        AsyncPglogicalNode as AsyncPglogicalNode,
        AsyncPglogicalSubscription as AsyncPglogicalSubscription,
    )
    from pgreplkit._sync.logical.pglogical import (
        PglogicalNode as PglogicalNode,
        PglogicalSubscription as PglogicalSubscription,
    )
    from pgreplkit.catalog.logical.pglogical import (
        PglogicalState as PglogicalState,
        PglogicalStatus as PglogicalStatus,
        PglogicalSync as PglogicalSync,
        PglogicalTable as PglogicalTable,
        ReplicationSet as ReplicationSet,
    )

# Hidden from type checkers, which would take any name for a public one.
if not TYPE_CHECKING:
    __getattr__, __dir__ = _lazy(__name__)
    __all__ = __dir__()
