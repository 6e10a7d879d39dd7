"""pgreplkit: PostgreSQL replication as typed Python objects.

- Values: LSN, WalFileName, TimelineHistory and others, which need neither a server nor psycopg.
- Servers: connect() returns a Primary or a Standby; Slot, Publication, Subscription and Cluster
  read and change the parts of a replication setup. Each class has an Async twin.
- Streams: changes of a logical slot as typed rows, WAL, and base backups.
- pgreplkit.errors lists the errors; pgreplkit.lab starts throwaway servers.
"""

from pgreplkit._public import lazy as _lazy

# Importing typing would cost more than the rest of this module.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from pgreplkit._async.cluster.clone import (
        AsyncClone as AsyncClone,
        aclone_standby as aclone_standby,
    )
    from pgreplkit._async.cluster.cluster import AsyncCluster as AsyncCluster
    from pgreplkit._async.cluster.failover import Proof as Proof
    from pgreplkit._async.cluster.patroni import AsyncPatroniCluster as AsyncPatroniCluster
    from pgreplkit._async.cluster.plan import AsyncPlan as AsyncPlan
    from pgreplkit._async.cluster.watch import AsyncWatch as AsyncWatch
    from pgreplkit._async.connect import aconnect as aconnect
    from pgreplkit._async.logical.compare import acompare as acompare
    from pgreplkit._async.logical.drift import (
        acopy_schema as acopy_schema,
        aschema_drift as aschema_drift,
    )
    from pgreplkit._async.logical.orphans import aorphans as aorphans
    from pgreplkit._async.logical.pglogical import (
        AsyncPglogicalNode as AsyncPglogicalNode,
        AsyncPglogicalSubscription as AsyncPglogicalSubscription,
    )
    from pgreplkit._async.logical.publication import AsyncPublication as AsyncPublication
    from pgreplkit._async.logical.sequences import AsyncSequencePlan as AsyncSequencePlan
    from pgreplkit._async.logical.snapshot import AsyncSnapshotStream as AsyncSnapshotStream
    from pgreplkit._async.logical.streamingserver import (
        AsyncStreamingServer as AsyncStreamingServer,
    )
    from pgreplkit._async.logical.subscription import AsyncSubscription as AsyncSubscription
    from pgreplkit._async.primary import AsyncPrimary as AsyncPrimary
    from pgreplkit._async.server.server import AsyncServer as AsyncServer
    from pgreplkit._async.server.slot import AsyncSlot as AsyncSlot
    from pgreplkit._async.standby import AsyncStandby as AsyncStandby
    from pgreplkit._async.streams.backupstream import AsyncBackupStream as AsyncBackupStream
    from pgreplkit._async.streams.changes import (
        AsyncChangeStream as AsyncChangeStream,
        AsyncPayloadStream as AsyncPayloadStream,
        AsyncSlotReader as AsyncSlotReader,
        AsyncTransactionStream as AsyncTransactionStream,
    )
    from pgreplkit._async.streams.replication import (
        AsyncReplicationConnection as AsyncReplicationConnection,
    )
    from pgreplkit._async.streams.segmentstream import AsyncSegmentStream as AsyncSegmentStream
    from pgreplkit._async.streams.walstream import AsyncWalStream as AsyncWalStream
    from pgreplkit._sync.cluster.clone import Clone as Clone, clone_standby as clone_standby
    from pgreplkit._sync.cluster.cluster import Cluster as Cluster
    from pgreplkit._sync.cluster.patroni import PatroniCluster as PatroniCluster
    from pgreplkit._sync.cluster.plan import Plan as Plan
    from pgreplkit._sync.cluster.watch import Watch as Watch
    from pgreplkit._sync.connect import connect as connect
    from pgreplkit._sync.logical.compare import compare as compare
    from pgreplkit._sync.logical.drift import (
        copy_schema as copy_schema,
        schema_drift as schema_drift,
    )
    from pgreplkit._sync.logical.orphans import orphans as orphans
    from pgreplkit._sync.logical.pglogical import (
        PglogicalNode as PglogicalNode,
        PglogicalSubscription as PglogicalSubscription,
    )
    from pgreplkit._sync.logical.publication import Publication as Publication
    from pgreplkit._sync.logical.sequences import SequencePlan as SequencePlan
    from pgreplkit._sync.logical.snapshot import SnapshotStream as SnapshotStream
    from pgreplkit._sync.logical.streamingserver import StreamingServer as StreamingServer
    from pgreplkit._sync.logical.subscription import Subscription as Subscription
    from pgreplkit._sync.primary import Primary as Primary
    from pgreplkit._sync.server.server import Server as Server
    from pgreplkit._sync.server.slot import Slot as Slot
    from pgreplkit._sync.standby import Standby as Standby
    from pgreplkit._sync.streams.backupstream import BackupStream as BackupStream
    from pgreplkit._sync.streams.changes import (
        ChangeStream as ChangeStream,
        PayloadStream as PayloadStream,
        SlotReader as SlotReader,
        TransactionStream as TransactionStream,
    )
    from pgreplkit._sync.streams.replication import ReplicationConnection as ReplicationConnection
    from pgreplkit._sync.streams.segmentstream import SegmentStream as SegmentStream
    from pgreplkit._sync.streams.walstream import WalStream as WalStream
    from pgreplkit.catalog.cluster.repmgr import (
        RepmgrEvent as RepmgrEvent,
        RepmgrNode as RepmgrNode,
        RepmgrType as RepmgrType,
    )
    from pgreplkit.catalog.logical.pglogical import (
        PglogicalState as PglogicalState,
        PglogicalStatus as PglogicalStatus,
        PglogicalSync as PglogicalSync,
        PglogicalTable as PglogicalTable,
        ReplicationSet as ReplicationSet,
    )
    from pgreplkit.catalog.logical.publication import (
        GeneratedColumns as GeneratedColumns,
        Operation as Operation,
        PublicationState as PublicationState,
        PublishedTable as PublishedTable,
    )
    from pgreplkit.catalog.logical.replicaidentity import (
        IdentityKind as IdentityKind,
        ReplicaIdentity as ReplicaIdentity,
    )
    from pgreplkit.catalog.logical.sequences import SequenceState as SequenceState
    from pgreplkit.catalog.logical.subscription import (
        Streaming as Streaming,
        SubscribedTable as SubscribedTable,
        SubscriptionState as SubscriptionState,
        SubscriptionStats as SubscriptionStats,
        SubscriptionWorker as SubscriptionWorker,
        TableState as TableState,
        TwoPhaseState as TwoPhaseState,
        WorkerType as WorkerType,
    )
    from pgreplkit.catalog.logical.writers import (
        WriteGrant as WriteGrant,
        Writers as Writers,
        WritingSession as WritingSession,
    )
    from pgreplkit.catalog.server.access import HbaRule as HbaRule
    from pgreplkit.catalog.server.basebackups import (
        BackupPhase as BackupPhase,
        BaseBackup as BaseBackup,
    )
    from pgreplkit.catalog.server.checkpoints import CheckpointStatus as CheckpointStatus
    from pgreplkit.catalog.server.lag import (
        LagReason as LagReason,
        LagStage as LagStage,
        ReplayLag as ReplayLag,
    )
    from pgreplkit.catalog.server.positions import WalPosition as WalPosition
    from pgreplkit.catalog.server.receivers import (
        ReceiverState as ReceiverState,
        Upstream as Upstream,
        WalReceiver as WalReceiver,
    )
    from pgreplkit.catalog.server.replay import (
        PauseState as PauseState,
        Promotion as Promotion,
        ReplayStatus as ReplayStatus,
    )
    from pgreplkit.catalog.server.replayconflicts import DatabaseConflicts as DatabaseConflicts
    from pgreplkit.catalog.server.retention import ArchiverStatus as ArchiverStatus
    from pgreplkit.catalog.server.roles import ReplicationRole as ReplicationRole
    from pgreplkit.catalog.server.senders import (
        ByteLag as ByteLag,
        SenderState as SenderState,
        SyncState as SyncState,
        WalSender as WalSender,
    )
    from pgreplkit.catalog.server.settings import (
        Setting as Setting,
        SettingContext as SettingContext,
        SettingValue as SettingValue,
        VarType as VarType,
    )
    from pgreplkit.catalog.server.slot import (
        InvalidationReason as InvalidationReason,
        SlotChange as SlotChange,
        SlotColumns as SlotColumns,
        SlotState as SlotState,
        SlotType as SlotType,
        WalStatus as WalStatus,
    )
    from pgreplkit.catalog.server.waldir import WalFile as WalFile
    from pgreplkit.driver.adapters import register as register
    from pgreplkit.errors import (
        AheadOfServer as AheadOfServer,
        AlreadyExists as AlreadyExists,
        ApplierActive as ApplierActive,
        ApplyError as ApplyError,
        ApplyFailed as ApplyFailed,
        BackupDamaged as BackupDamaged,
        ConnectionFailed as ConnectionFailed,
        ControlFailed as ControlFailed,
        Error as Error,
        ExtensionMissing as ExtensionMissing,
        HostFileError as HostFileError,
        InsufficientPrivilege as InsufficientPrivilege,
        InvalidAcknowledgement as InvalidAcknowledgement,
        InvalidBackupLabel as InvalidBackupLabel,
        InvalidBackupManifest as InvalidBackupManifest,
        InvalidBackupMessage as InvalidBackupMessage,
        InvalidChangeMessage as InvalidChangeMessage,
        InvalidControlFile as InvalidControlFile,
        InvalidLSN as InvalidLSN,
        InvalidRoleName as InvalidRoleName,
        InvalidSegmentSize as InvalidSegmentSize,
        InvalidServerVersion as InvalidServerVersion,
        InvalidSlotName as InvalidSlotName,
        InvalidSyncStandbyNames as InvalidSyncStandbyNames,
        InvalidSystemIdentity as InvalidSystemIdentity,
        InvalidTableName as InvalidTableName,
        InvalidTimelineHistory as InvalidTimelineHistory,
        InvalidValue as InvalidValue,
        InvalidWalFileName as InvalidWalFileName,
        InvalidWalMessage as InvalidWalMessage,
        InvalidWalRange as InvalidWalRange,
        KeyMissing as KeyMissing,
        LabError as LabError,
        LogUnavailable as LogUnavailable,
        NodeNotFound as NodeNotFound,
        NotAPrimary as NotAPrimary,
        NotAStandby as NotAStandby,
        OriginLoop as OriginLoop,
        PatroniError as PatroniError,
        PatroniRefused as PatroniRefused,
        PatroniUnreachable as PatroniUnreachable,
        PlanFailed as PlanFailed,
        PlanRefused as PlanRefused,
        PublicationNotFound as PublicationNotFound,
        PublisherUnreachable as PublisherUnreachable,
        QuorumUnreachable as QuorumUnreachable,
        ReplicaIdentityMissing as ReplicaIdentityMissing,
        RoleNotFound as RoleNotFound,
        SchemaMismatch as SchemaMismatch,
        ServerError as ServerError,
        ServerNotFound as ServerNotFound,
        ServerStartFailed as ServerStartFailed,
        SettingNotFound as SettingNotFound,
        SlotActive as SlotActive,
        SlotLost as SlotLost,
        SlotNotFound as SlotNotFound,
        SplitBrain as SplitBrain,
        StatementTimeout as StatementTimeout,
        StreamClosed as StreamClosed,
        SubscriptionNotFound as SubscriptionNotFound,
        SubscriptionStuck as SubscriptionStuck,
        TableNotFound as TableNotFound,
        TimelineNotInHistory as TimelineNotInHistory,
        UnsupportedByServer as UnsupportedByServer,
        ValueNotLoadable as ValueNotLoadable,
        WaitTimeout as WaitTimeout,
        WalRemoved as WalRemoved,
    )
    from pgreplkit.host.backupfolder import verify_backup as verify_backup
    from pgreplkit.host.commandcontrol import CommandControl as CommandControl
    from pgreplkit.host.configfiles import add_passfile_entry as add_passfile_entry
    from pgreplkit.host.localcontrol import LocalControl as LocalControl
    from pgreplkit.host.nodecontrol import NodeControl as NodeControl
    from pgreplkit.host.walfiles import ReceivedSegment as ReceivedSegment
    from pgreplkit.plans.cluster.clone import (
        ClonePhase as ClonePhase,
        CloneProgress as CloneProgress,
    )
    from pgreplkit.plans.cluster.journal import (
        Result as Result,
        StepProgress as StepProgress,
        StepResult as StepResult,
    )
    from pgreplkit.plans.cluster.patroni import (
        PatroniChange as PatroniChange,
        PatroniMember as PatroniMember,
        PatroniRole as PatroniRole,
        PatroniStatus as PatroniStatus,
    )
    from pgreplkit.plans.cluster.standbyconfig import (
        StandbyConfig as StandbyConfig,
        TargetAction as TargetAction,
        TargetTimeline as TargetTimeline,
        standby_config as standby_config,
    )
    from pgreplkit.plans.cluster.steps import Step as Step
    from pgreplkit.plans.cluster.topology import ClusterNode as ClusterNode, Topology as Topology
    from pgreplkit.plans.cluster.watch import (
        NodeSample as NodeSample,
        WatchSample as WatchSample,
        WatchSamples as WatchSamples,
    )
    from pgreplkit.plans.logical.compare import (
        CompareProgress as CompareProgress,
        DiffKind as DiffKind,
        RowDiff as RowDiff,
    )
    from pgreplkit.plans.logical.conflictlog import (
        ConflictRecord as ConflictRecord,
        ConflictType as ConflictType,
    )
    from pgreplkit.plans.logical.drift import (
        Drift as Drift,
        DriftKind as DriftKind,
        SchemaDrift as SchemaDrift,
        SchemaSection as SchemaSection,
    )
    from pgreplkit.plans.logical.failing import (
        FailedChange as FailedChange,
        FailedTransaction as FailedTransaction,
    )
    from pgreplkit.plans.logical.orphans import Orphan as Orphan
    from pgreplkit.plans.logical.sequences import SequenceChange as SequenceChange
    from pgreplkit.plans.logical.stuck import Stuck as Stuck, StuckReason as StuckReason
    from pgreplkit.plans.logical.subscription import (
        DroppedSubscription as DroppedSubscription,
        Leftover as Leftover,
        LeftoverKind as LeftoverKind,
        SubscriptionOptions as SubscriptionOptions,
        SubscriptionStatus as SubscriptionStatus,
    )
    from pgreplkit.plans.server.access import AccessVerdict as AccessVerdict
    from pgreplkit.plans.server.primaryreadiness import Replication as Replication
    from pgreplkit.plans.server.readiness import Readiness as Readiness
    from pgreplkit.plans.server.retention import (
        HolderKind as HolderKind,
        WalHolder as WalHolder,
        WalRetention as WalRetention,
    )
    from pgreplkit.plans.streams.backupstream import (
        BackupCompression as BackupCompression,
        BackupProgress as BackupProgress,
        BackupStage as BackupStage,
        ManifestChecksums as ManifestChecksums,
        TablespaceProgress as TablespaceProgress,
    )
    from pgreplkit.plans.streams.options import (
        ChangeOptions as ChangeOptions,
        StreamOptions as StreamOptions,
    )
    from pgreplkit.protocol.answers import (
        CreatedSlot as CreatedSlot,
        SlotPosition as SlotPosition,
        Snapshot as Snapshot,
    )
    from pgreplkit.protocol.basebackup import (
        BackupArchive as BackupArchive,
        BackupChunk as BackupChunk,
        BackupItem as BackupItem,
        ManifestChunk as ManifestChunk,
    )
    from pgreplkit.protocol.changefeed import Payload as Payload
    from pgreplkit.protocol.pgoutput.messages import (
        Begin as Begin,
        BeginPrepare as BeginPrepare,
        Change as Change,
        Commit as Commit,
        CommitPrepared as CommitPrepared,
        Delete as Delete,
        Insert as Insert,
        Message as Message,
        Origin as Origin,
        Prepare as Prepare,
        RollbackPrepared as RollbackPrepared,
        SnapshotEnd as SnapshotEnd,
        StreamAbort as StreamAbort,
        StreamCommit as StreamCommit,
        StreamStart as StreamStart,
        StreamStop as StreamStop,
        Truncate as Truncate,
        Update as Update,
    )
    from pgreplkit.protocol.pgoutput.rows import (
        UNCHANGED as UNCHANGED,
        Row as Row,
        RowFactory as RowFactory,
        RowMaker as RowMaker,
        Unchanged as Unchanged,
        class_rows as class_rows,
        dict_rows as dict_rows,
        named_rows as named_rows,
        tuple_rows as tuple_rows,
    )
    from pgreplkit.protocol.pgoutput.tables import (
        Column as Column,
        RelationIdentity as RelationIdentity,
        Table as Table,
    )
    from pgreplkit.protocol.transactions import Transaction as Transaction
    from pgreplkit.protocol.walfeed import WalChunk as WalChunk
    from pgreplkit.values.backup import BackupLabel as BackupLabel
    from pgreplkit.values.controlfile import (
        ControlFile as ControlFile,
        ControlState as ControlState,
    )
    from pgreplkit.values.finding import Finding as Finding, Severity as Severity, Takes as Takes
    from pgreplkit.values.identity import SystemIdentity as SystemIdentity
    from pgreplkit.values.lsn import LSN as LSN
    from pgreplkit.values.manifest import (
        BackupManifest as BackupManifest,
        ManifestFile as ManifestFile,
        ManifestWalRange as ManifestWalRange,
    )
    from pgreplkit.values.plain import Plain as Plain
    from pgreplkit.values.segment import SegmentSize as SegmentSize
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
    from pgreplkit.values.version import ServerVersion as ServerVersion
    from pgreplkit.values.walfile import WalFileName as WalFileName
    from pgreplkit.values.walfunctions import (
        SplitWalFileName as SplitWalFileName,
        WalFileOffset as WalFileOffset,
        pg_split_walfile_name as pg_split_walfile_name,
        pg_wal_lsn_diff as pg_wal_lsn_diff,
        pg_walfile_name as pg_walfile_name,
        pg_walfile_name_offset as pg_walfile_name_offset,
    )
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
        return [*__all__, "__version__"]
