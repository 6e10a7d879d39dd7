"""Patroni: a cluster's status, switchover and failover by Patroni's REST API."""

from pgreplkit._public import TYPE_CHECKING, lazy as _lazy

if TYPE_CHECKING:
    from pgreplkit._async.cluster.patroni import AsyncPatroniCluster as AsyncPatroniCluster
    from pgreplkit._sync.cluster.patroni import PatroniCluster as PatroniCluster
    from pgreplkit.plans.cluster.patroni import (
        PatroniChange as PatroniChange,
        PatroniMember as PatroniMember,
        PatroniRole as PatroniRole,
        PatroniStatus as PatroniStatus,
    )

# Hidden from type checkers, which would take any name for a public one.
if not TYPE_CHECKING:
    __getattr__, __dir__ = _lazy(__name__)
    __all__ = __dir__()
