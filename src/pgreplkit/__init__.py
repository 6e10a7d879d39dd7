"""pgreplkit: PostgreSQL replication as typed Python objects.

Values that agree with the server (LSN, WalFileName, TimelineHistory, …), servers that you can ask
(connect, Primary, Standby and their Async twins), and throwaway clusters (pgreplkit.lab).
"""

from importlib import import_module as _import_module

# Importing typing would cost more than the rest of this module.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from pgreplkit._adapters import register as register
    from pgreplkit._async.connect import connect as aconnect
    from pgreplkit._async.primary import AsyncPrimary as AsyncPrimary
    from pgreplkit._async.server import AsyncServer as AsyncServer
    from pgreplkit._async.standby import AsyncStandby as AsyncStandby
    from pgreplkit._sync.connect import connect as connect
    from pgreplkit._sync.primary import Primary as Primary
    from pgreplkit._sync.server import Server as Server
    from pgreplkit._sync.standby import Standby as Standby
    from pgreplkit.catalog.checkpoints import CheckpointStatus as CheckpointStatus
    from pgreplkit.catalog.positions import WalPosition as WalPosition
    from pgreplkit.catalog.receivers import ReceiverState as ReceiverState
    from pgreplkit.catalog.receivers import Upstream as Upstream
    from pgreplkit.catalog.receivers import WalReceiver as WalReceiver
    from pgreplkit.catalog.replay import LagReason as LagReason
    from pgreplkit.catalog.replay import PauseState as PauseState
    from pgreplkit.catalog.replay import ReplayStatus as ReplayStatus
    from pgreplkit.catalog.senders import ByteLag as ByteLag
    from pgreplkit.catalog.senders import SenderState as SenderState
    from pgreplkit.catalog.senders import SyncState as SyncState
    from pgreplkit.catalog.senders import WalSender as WalSender
    from pgreplkit.catalog.settings import Setting as Setting
    from pgreplkit.catalog.settings import SettingContext as SettingContext
    from pgreplkit.catalog.settings import SettingValue as SettingValue
    from pgreplkit.catalog.settings import VarType as VarType
    from pgreplkit.catalog.waldir import WalFile as WalFile
    from pgreplkit.errors import ConnectionFailed as ConnectionFailed
    from pgreplkit.errors import Error as Error
    from pgreplkit.errors import InsufficientPrivilege as InsufficientPrivilege
    from pgreplkit.errors import InvalidBackupLabel as InvalidBackupLabel
    from pgreplkit.errors import InvalidBackupManifest as InvalidBackupManifest
    from pgreplkit.errors import InvalidLSN as InvalidLSN
    from pgreplkit.errors import InvalidSegmentSize as InvalidSegmentSize
    from pgreplkit.errors import InvalidServerVersion as InvalidServerVersion
    from pgreplkit.errors import InvalidSyncStandbyNames as InvalidSyncStandbyNames
    from pgreplkit.errors import InvalidSystemIdentity as InvalidSystemIdentity
    from pgreplkit.errors import InvalidTimelineHistory as InvalidTimelineHistory
    from pgreplkit.errors import InvalidValue as InvalidValue
    from pgreplkit.errors import InvalidWalFileName as InvalidWalFileName
    from pgreplkit.errors import InvalidWalRange as InvalidWalRange
    from pgreplkit.errors import LabError as LabError
    from pgreplkit.errors import NotAPrimary as NotAPrimary
    from pgreplkit.errors import NotAStandby as NotAStandby
    from pgreplkit.errors import ServerError as ServerError
    from pgreplkit.errors import ServerNotFound as ServerNotFound
    from pgreplkit.errors import ServerStartFailed as ServerStartFailed
    from pgreplkit.errors import SettingNotFound as SettingNotFound
    from pgreplkit.errors import StatementTimeout as StatementTimeout
    from pgreplkit.errors import TimelineNotInHistory as TimelineNotInHistory
    from pgreplkit.errors import UnsupportedByServer as UnsupportedByServer
    from pgreplkit.errors import WaitTimeout as WaitTimeout
    from pgreplkit.values.backup import BackupLabel as BackupLabel
    from pgreplkit.values.identity import SystemIdentity as SystemIdentity
    from pgreplkit.values.lsn import LSN as LSN
    from pgreplkit.values.manifest import BackupManifest as BackupManifest
    from pgreplkit.values.manifest import ManifestFile as ManifestFile
    from pgreplkit.values.manifest import ManifestWalRange as ManifestWalRange
    from pgreplkit.values.segment import SegmentSize as SegmentSize
    from pgreplkit.values.serverfuncs import SplitWalFileName as SplitWalFileName
    from pgreplkit.values.serverfuncs import WalFileOffset as WalFileOffset
    from pgreplkit.values.serverfuncs import pg_split_walfile_name as pg_split_walfile_name
    from pgreplkit.values.serverfuncs import pg_wal_lsn_diff as pg_wal_lsn_diff
    from pgreplkit.values.serverfuncs import pg_walfile_name as pg_walfile_name
    from pgreplkit.values.serverfuncs import pg_walfile_name_offset as pg_walfile_name_offset
    from pgreplkit.values.syncnames import SyncMethod as SyncMethod
    from pgreplkit.values.syncnames import SyncStandbyNames as SyncStandbyNames
    from pgreplkit.values.timeline import TimelineHistory as TimelineHistory
    from pgreplkit.values.timeline import TimelineSection as TimelineSection
    from pgreplkit.values.timeline import TimelineSwitch as TimelineSwitch
    from pgreplkit.values.version import ServerVersion as ServerVersion
    from pgreplkit.values.walfile import WalFileName as WalFileName
    from pgreplkit.values.walnames import BackupHistoryFileName as BackupHistoryFileName
    from pgreplkit.values.walnames import CompressedWalName as CompressedWalName
    from pgreplkit.values.walnames import PartialWalFileName as PartialWalFileName
    from pgreplkit.values.walnames import TimelineHistoryFileName as TimelineHistoryFileName
    from pgreplkit.values.walnames import WalName as WalName
    from pgreplkit.values.walnames import parse_wal_name as parse_wal_name
    from pgreplkit.values.walrange import WalRange as WalRange

__version__ = "0.1.0"

_ROOMS = {
    "_adapters": ["register"],
    "_async.primary": ["AsyncPrimary"],
    "_async.server": ["AsyncServer"],
    "_async.standby": ["AsyncStandby"],
    "_sync.connect": ["connect"],
    "_sync.primary": ["Primary"],
    "_sync.server": ["Server"],
    "_sync.standby": ["Standby"],
    "catalog.checkpoints": ["CheckpointStatus"],
    "catalog.positions": ["WalPosition"],
    "catalog.receivers": ["ReceiverState", "Upstream", "WalReceiver"],
    "catalog.replay": ["LagReason", "PauseState", "ReplayStatus"],
    "catalog.senders": ["ByteLag", "SenderState", "SyncState", "WalSender"],
    "catalog.settings": ["Setting", "SettingContext", "SettingValue", "VarType"],
    "catalog.waldir": ["WalFile"],
    "errors": [
        "ConnectionFailed",
        "Error",
        "InsufficientPrivilege",
        "InvalidBackupLabel",
        "InvalidBackupManifest",
        "InvalidLSN",
        "InvalidSegmentSize",
        "InvalidServerVersion",
        "InvalidSyncStandbyNames",
        "InvalidSystemIdentity",
        "InvalidTimelineHistory",
        "InvalidValue",
        "InvalidWalFileName",
        "InvalidWalRange",
        "LabError",
        "NotAPrimary",
        "NotAStandby",
        "ServerError",
        "ServerNotFound",
        "ServerStartFailed",
        "SettingNotFound",
        "StatementTimeout",
        "TimelineNotInHistory",
        "UnsupportedByServer",
        "WaitTimeout",
    ],
    "values.backup": ["BackupLabel"],
    "values.identity": ["SystemIdentity"],
    "values.lsn": ["LSN"],
    "values.manifest": ["BackupManifest", "ManifestFile", "ManifestWalRange"],
    "values.segment": ["SegmentSize"],
    "values.serverfuncs": [
        "SplitWalFileName",
        "WalFileOffset",
        "pg_split_walfile_name",
        "pg_wal_lsn_diff",
        "pg_walfile_name",
        "pg_walfile_name_offset",
    ],
    "values.syncnames": ["SyncMethod", "SyncStandbyNames"],
    "values.timeline": ["TimelineHistory", "TimelineSection", "TimelineSwitch"],
    "values.version": ["ServerVersion"],
    "values.walfile": ["WalFileName"],
    "values.walnames": [
        "BackupHistoryFileName",
        "CompressedWalName",
        "PartialWalFileName",
        "TimelineHistoryFileName",
        "WalName",
        "parse_wal_name",
    ],
    "values.walrange": ["WalRange"],
}
_HOME = {name: (room, name) for room, names in _ROOMS.items() for name in names}
_HOME["aconnect"] = ("_async.connect", "connect")


def __getattr__(name: str) -> object:
    try:
        room, original = _HOME[name]
    except KeyError:
        raise AttributeError(f"module 'pgreplkit' has no attribute {name!r}") from None
    value: object = getattr(_import_module(f"pgreplkit.{room}"), original)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*_HOME, "__version__"])
