"""pgreplkit: PostgreSQL replication as typed Python objects.

- Values: LSN, WalFileName, TimelineHistory and others, which need neither a server nor psycopg.
- Servers: connect() returns a Primary or a Standby; Slot, Publication, Subscription and Cluster
  read and change the parts of a replication setup. Each class has an Async twin.
- Streams: changes of a logical slot as typed rows, WAL, and base backups.
- pgreplkit.errors lists the errors; pgreplkit.lab starts throwaway servers.
"""

from pgreplkit._public import SUBMODULES as _SUBMODULES, TYPE_CHECKING, lazy as _lazy

if TYPE_CHECKING:
    from pgreplkit import (
        apply as apply,
        backups as backups,
        changes as changes,
        checks as checks,
        errors as errors,
        feeds as feeds,
        lab as lab,
        mesh as mesh,
        metrics as metrics,
        otel as otel,
        patroni as patroni,
        pglogical as pglogical,
        rows as rows,
        testing as testing,
        upgrade as upgrade,
        wal as wal,
    )
    from pgreplkit._async.cluster.clone import (
        AsyncClonePlan as AsyncClonePlan,
        aplan_clone as aplan_clone,
    )
    from pgreplkit._async.cluster.cluster import AsyncCluster as AsyncCluster
    from pgreplkit._async.cluster.plan import AsyncPlan as AsyncPlan
    from pgreplkit._async.cluster.watch import AsyncWatch as AsyncWatch
    from pgreplkit._async.connect import aconnect as aconnect
    from pgreplkit._async.logical.compare import acompare as acompare
    from pgreplkit._async.logical.drift import (
        acopy_schema as acopy_schema,
        aschema_drift as aschema_drift,
    )
    from pgreplkit._async.logical.fence import AsyncWriteFence as AsyncWriteFence
    from pgreplkit._async.logical.orphans import afind_orphans as afind_orphans
    from pgreplkit._async.logical.publication import AsyncPublication as AsyncPublication
    from pgreplkit._async.logical.sequences import AsyncSequencePlan as AsyncSequencePlan
    from pgreplkit._async.logical.subscription import AsyncSubscription as AsyncSubscription
    from pgreplkit._async.primary import AsyncPrimary as AsyncPrimary
    from pgreplkit._async.server.server import AsyncServer as AsyncServer
    from pgreplkit._async.server.slot import AsyncSlot as AsyncSlot
    from pgreplkit._async.standby import AsyncStandby as AsyncStandby
    from pgreplkit._async.streams.replication import (
        AsyncReplicationConnection as AsyncReplicationConnection,
    )
    from pgreplkit._sync.cluster.clone import ClonePlan as ClonePlan, plan_clone as plan_clone
    from pgreplkit._sync.cluster.cluster import Cluster as Cluster
    from pgreplkit._sync.cluster.plan import Plan as Plan
    from pgreplkit._sync.cluster.watch import Watch as Watch
    from pgreplkit._sync.connect import connect as connect
    from pgreplkit._sync.logical.compare import compare as compare
    from pgreplkit._sync.logical.drift import (
        copy_schema as copy_schema,
        schema_drift as schema_drift,
    )
    from pgreplkit._sync.logical.fence import WriteFence as WriteFence
    from pgreplkit._sync.logical.orphans import find_orphans as find_orphans
    from pgreplkit._sync.logical.publication import Publication as Publication
    from pgreplkit._sync.logical.sequences import SequencePlan as SequencePlan
    from pgreplkit._sync.logical.subscription import Subscription as Subscription
    from pgreplkit._sync.primary import Primary as Primary
    from pgreplkit._sync.server.server import Server as Server
    from pgreplkit._sync.server.slot import Slot as Slot
    from pgreplkit._sync.standby import Standby as Standby
    from pgreplkit._sync.streams.replication import ReplicationConnection as ReplicationConnection
    from pgreplkit.catalog.logical.publication import PublishedTable as PublishedTable
    from pgreplkit.driver.adapters import register as register
    from pgreplkit.errors import Error as Error
    from pgreplkit.host.commandcontrol import CommandControl as CommandControl
    from pgreplkit.host.configfiles import add_passfile_entry as add_passfile_entry
    from pgreplkit.host.localcontrol import LocalControl as LocalControl
    from pgreplkit.host.nodecontrol import NodeControl as NodeControl
    from pgreplkit.plans.cluster.standbyconfig import standby_config as standby_config
    from pgreplkit.plans.logical.subscription import SubscriptionOptions as SubscriptionOptions
    from pgreplkit.values.controlfile import ControlFile as ControlFile
    from pgreplkit.values.flat import to_records as to_records
    from pgreplkit.values.identity import SystemIdentity as SystemIdentity
    from pgreplkit.values.lsn import LSN as LSN
    from pgreplkit.values.seconds import Timeout as Timeout
    from pgreplkit.values.segment import (
        AnySegmentSize as AnySegmentSize,
        SegmentSize as SegmentSize,
    )
    from pgreplkit.values.shards import ShardMap as ShardMap
    from pgreplkit.values.structuring import register_cattrs as register_cattrs
    from pgreplkit.values.syncnames import (
        SyncMethod as SyncMethod,
        SyncStandbyNames as SyncStandbyNames,
    )
    from pgreplkit.values.tablename import TableName as TableName
    from pgreplkit.values.timeline import (
        TimelineHistory as TimelineHistory,
        TimelineSection as TimelineSection,
        TimelineSwitch as TimelineSwitch,
    )
    from pgreplkit.values.version import (
        AnyServerVersion as AnyServerVersion,
        ServerVersion as ServerVersion,
    )
    from pgreplkit.values.walfile import WalFileName as WalFileName
    from pgreplkit.values.walnames import (
        BackupHistoryFileName as BackupHistoryFileName,
        CompressedWalName as CompressedWalName,
        PartialWalFileName as PartialWalFileName,
        TimelineHistoryFileName as TimelineHistoryFileName,
        WalName as WalName,
        parse_wal_name as parse_wal_name,
    )
    from pgreplkit.values.walrange import WalRange as WalRange

__version__ = "0.1.0"

# Hidden from type checkers, which would take any name for a public one.
if not TYPE_CHECKING:
    __getattr__, _names = _lazy(__name__)
    __all__ = _names()

    def __dir__():
        return [*__all__, *_SUBMODULES, "__version__"]
