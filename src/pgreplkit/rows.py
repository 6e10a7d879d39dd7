"""Rows of the catalogs and statistics views, reports, plans' steps, and the enums in them.

Rows are frozen; their fields have the names of the server's columns. A column that the server's
major version lacks is None. Enums keep words that they do not know.
"""

from pgreplkit._public import TYPE_CHECKING, lazy as _lazy

if TYPE_CHECKING:
    from pgreplkit._async.cluster.failover import Evidence as Evidence
    from pgreplkit.catalog.cluster.repmgr import (
        RepmgrEvent as RepmgrEvent,
        RepmgrNode as RepmgrNode,
        RepmgrType as RepmgrType,
    )
    from pgreplkit.catalog.logical.fence import (
        FenceState as FenceState,
        UnfencedKind as UnfencedKind,
        UnfencedSession as UnfencedSession,
    )
    from pgreplkit.catalog.logical.publication import (
        GeneratedColumns as GeneratedColumns,
        Operation as Operation,
        PublicationState as PublicationState,
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
        SlotState as SlotState,
        SlotType as SlotType,
        WalStatus as WalStatus,
    )
    from pgreplkit.catalog.server.waldir import WalFile as WalFile
    from pgreplkit.plans.cluster.clone import (
        ClonePhase as ClonePhase,
        CloneProgress as CloneProgress,
    )
    from pgreplkit.plans.cluster.journal import (
        PlanResult as PlanResult,
        StepProgress as StepProgress,
        StepResult as StepResult,
    )
    from pgreplkit.plans.cluster.standbyconfig import (
        StandbyConfig as StandbyConfig,
        TargetAction as TargetAction,
        TargetTimeline as TargetTimeline,
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
    from pgreplkit.plans.logical.stuck import (
        StuckReason as StuckReason,
        SubscriptionProblem as SubscriptionProblem,
    )
    from pgreplkit.plans.logical.subscription import (
        DroppedSubscription as DroppedSubscription,
        Leftover as Leftover,
        LeftoverKind as LeftoverKind,
        SubscriptionStatus as SubscriptionStatus,
    )
    from pgreplkit.plans.server.access import AccessVerdict as AccessVerdict
    from pgreplkit.plans.server.primaryreadiness import ReplicationType as ReplicationType
    from pgreplkit.plans.server.readiness import Readiness as Readiness
    from pgreplkit.plans.server.retention import (
        HolderKind as HolderKind,
        WalHolder as WalHolder,
        WalRetention as WalRetention,
    )
    from pgreplkit.protocol.answers import (
        CreatedSlot as CreatedSlot,
        SlotPosition as SlotPosition,
        Snapshot as Snapshot,
    )
    from pgreplkit.values.controlfile import ControlState as ControlState
    from pgreplkit.values.finding import (
        EffectiveAfter as EffectiveAfter,
        Finding as Finding,
        Severity as Severity,
    )
    from pgreplkit.values.plain import JSONValue as JSONValue
    from pgreplkit.values.record import Record as Record, asdict as asdict
    from pgreplkit.values.rows import Rows as Rows

# Hidden from type checkers, which would take any name for a public one.
if not TYPE_CHECKING:
    __getattr__, __dir__ = _lazy(__name__)
    __all__ = __dir__()
