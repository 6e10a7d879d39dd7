"""All errors of pgreplkit, in one tree.

::

    Error
    ├── InvalidValue (also a ValueError)
    │   ├── InvalidLSN                 InvalidSegmentSize
    │   ├── InvalidWalFileName         InvalidWalRange
    │   ├── InvalidTimelineHistory     InvalidSyncStandbyNames
    │   ├── InvalidBackupLabel         InvalidBackupManifest
    │   ├── InvalidSystemIdentity      InvalidServerVersion
    │   ├── InvalidSlotName            InvalidRoleName
    │   ├── InvalidControlFile         InvalidTableName
    │   ├── InvalidChangeMessage       InvalidAcknowledgement
    │   ├── InvalidWalMessage          InvalidBackupMessage
    │   ├── InvalidBackupCatalog       InvalidThreshold
    │   └── InvalidFeedPosition        InvalidDestination
    ├── TimelineNotInHistory (also a LookupError)
    ├── NodeNotFound (also a KeyError)
    ├── CheckNotFound (also a KeyError)
    ├── ColumnNotFound (also a KeyError)
    ├── ServerError
    │   ├── ConnectionFailed           StatementTimeout
    │   │   └── LoginRefused
    │   ├── NotAPrimary                NotAStandby
    │   ├── UnsupportedByServer        InsufficientPrivilege
    │   ├── SlotActive                 AlreadyExists
    │   ├── SlotLost                   QuorumUnreachable
    │   ├── ReplicaIdentityMissing     PublisherUnreachable
    │   ├── KeyMissing                 ExtensionMissing
    │   ├── LogUnavailable             StreamClosed
    │   ├── WalRemoved                 AheadOfServer
    │   ├── UpgradeActive
    │   ├── ApplyError
    │   │   ├── SchemaMismatch         ApplyFailed
    │   │   ├── ApplierActive          OriginLoop
    │   │   └── ClockSkewTooLarge
    │   ├── PublicationNotFound (also a LookupError)
    │   │   └── PublicationGap (also a LookupError)
    │   ├── SubscriptionNotFound (also a LookupError)
    │   ├── TableNotFound (also a LookupError)
    │   ├── SettingNotFound (also a LookupError)
    │   ├── SlotNotFound (also a LookupError)
    │   └── RoleNotFound (also a LookupError)
    ├── WaitTimeout (also a TimeoutError)
    │   └── SubscriptionStuck
    ├── HostFileError                  SplitBrain
    ├── SameServer (also a ValueError)
    ├── WalNotFound (also a LookupError)
    ├── InvalidWal (also a ValueError)
    ├── ValueNotLoadable               BackupDamaged
    ├── ControlFailed
    ├── PlanRefused                    PlanFailed
    ├── FeedError
    │   ├── SinkUnreachable            SinkNotFitting
    │   ├── SinkRefused
    │   │   └── MessageTooLarge
    │   ├── SinkFenced                 EncodingFailed
    │   └── PositionLost               WrongSource
    ├── PatroniError
    │   └── PatroniUnreachable         PatroniRefused
    ├── LabError
    │   └── ServerNotFound             ServerStartFailed
    └── ExtraMissing (also an ImportError)

An argument of a wrong type raises ``TypeError``.
"""

from pgreplkit._public import TYPE_CHECKING, lazy as _lazy

if TYPE_CHECKING:
    from pgreplkit.errors.apply import (
        ApplierActive as ApplierActive,
        ApplyError as ApplyError,
        ApplyFailed as ApplyFailed,
        ClockSkewTooLarge as ClockSkewTooLarge,
        OriginLoop as OriginLoop,
        SchemaMismatch as SchemaMismatch,
    )
    from pgreplkit.errors.base import (
        Error as Error,
    )
    from pgreplkit.errors.extras import ExtraMissing as ExtraMissing
    from pgreplkit.errors.feeds import (
        EncodingFailed as EncodingFailed,
        FeedError as FeedError,
        InvalidDestination as InvalidDestination,
        InvalidFeedPosition as InvalidFeedPosition,
        MessageTooLarge as MessageTooLarge,
        PositionLost as PositionLost,
        SinkFenced as SinkFenced,
        SinkNotFitting as SinkNotFitting,
        SinkRefused as SinkRefused,
        SinkUnreachable as SinkUnreachable,
        WrongSource as WrongSource,
    )
    from pgreplkit.errors.host import (
        ControlFailed as ControlFailed,
        HostFileError as HostFileError,
        WalNotFound as WalNotFound,
    )
    from pgreplkit.errors.lab import (
        LabError as LabError,
        ServerNotFound as ServerNotFound,
        ServerStartFailed as ServerStartFailed,
    )
    from pgreplkit.errors.logical import (
        ExtensionMissing as ExtensionMissing,
        KeyMissing as KeyMissing,
        LogUnavailable as LogUnavailable,
        PublicationGap as PublicationGap,
        PublicationNotFound as PublicationNotFound,
        PublisherUnreachable as PublisherUnreachable,
        ReplicaIdentityMissing as ReplicaIdentityMissing,
        SubscriptionNotFound as SubscriptionNotFound,
        TableNotFound as TableNotFound,
        UpgradeActive as UpgradeActive,
    )
    from pgreplkit.errors.patroni import (
        PatroniError as PatroniError,
        PatroniRefused as PatroniRefused,
        PatroniUnreachable as PatroniUnreachable,
    )
    from pgreplkit.errors.server import (
        AlreadyExists as AlreadyExists,
        ConnectionFailed as ConnectionFailed,
        InsufficientPrivilege as InsufficientPrivilege,
        LoginRefused as LoginRefused,
        NotAPrimary as NotAPrimary,
        NotAStandby as NotAStandby,
        QuorumUnreachable as QuorumUnreachable,
        RoleNotFound as RoleNotFound,
        ServerError as ServerError,
        SettingNotFound as SettingNotFound,
        SlotActive as SlotActive,
        SlotLost as SlotLost,
        SlotNotFound as SlotNotFound,
        StatementTimeout as StatementTimeout,
        UnsupportedByServer as UnsupportedByServer,
        WaitTimeout as WaitTimeout,
    )
    from pgreplkit.errors.streams import (
        AheadOfServer as AheadOfServer,
        BackupDamaged as BackupDamaged,
        InvalidAcknowledgement as InvalidAcknowledgement,
        InvalidBackupMessage as InvalidBackupMessage,
        InvalidWalMessage as InvalidWalMessage,
        StreamClosed as StreamClosed,
        ValueNotLoadable as ValueNotLoadable,
        WalRemoved as WalRemoved,
    )
    from pgreplkit.errors.values import (
        CheckNotFound as CheckNotFound,
        ColumnNotFound as ColumnNotFound,
        InvalidBackupLabel as InvalidBackupLabel,
        InvalidBackupManifest as InvalidBackupManifest,
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
        InvalidThreshold as InvalidThreshold,
        InvalidTimelineHistory as InvalidTimelineHistory,
        InvalidValue as InvalidValue,
        InvalidWalFileName as InvalidWalFileName,
        InvalidWalRange as InvalidWalRange,
        NodeNotFound as NodeNotFound,
        TimelineNotInHistory as TimelineNotInHistory,
    )
    from pgreplkit.offline.backups import InvalidBackupCatalog as InvalidBackupCatalog
    from pgreplkit.offline.damage import InvalidWal as InvalidWal
    from pgreplkit.plans.cluster.journal import PlanFailed as PlanFailed, PlanRefused as PlanRefused
    from pgreplkit.plans.cluster.topology import SplitBrain as SplitBrain
    from pgreplkit.plans.logical.stuck import SubscriptionStuck as SubscriptionStuck
    from pgreplkit.plans.server.identity import SameServer as SameServer

# Hidden from type checkers, which would take any name for a public one.
if not TYPE_CHECKING:
    __getattr__, __dir__ = _lazy(__name__)
    __all__ = __dir__()
