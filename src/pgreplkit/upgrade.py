"""Major upgrades by logical replication, with a way back that loses nothing."""

from pgreplkit._public import TYPE_CHECKING, lazy as _lazy

if TYPE_CHECKING:
    from pgreplkit._async.cluster.upgrade import AsyncUpgrade as AsyncUpgrade
    from pgreplkit._async.cluster.upgradeclone import AsyncUpgradeClone as AsyncUpgradeClone
    from pgreplkit._sync.cluster.upgrade import Upgrade as Upgrade
    from pgreplkit._sync.cluster.upgradeclone import UpgradeClone as UpgradeClone
    from pgreplkit.plans.cluster.upgradeclone import UpgradeTransfer as UpgradeTransfer
    from pgreplkit.plans.cluster.upgradegroups import TableGroup as TableGroup
    from pgreplkit.plans.cluster.upgradestatus import (
        UpgradePhase as UpgradePhase,
        UpgradeStatus as UpgradeStatus,
    )

# Hidden from type checkers, which would take any name for a public one.
if not TYPE_CHECKING:
    __getattr__, __dir__ = _lazy(__name__)
    __all__ = __dir__()
