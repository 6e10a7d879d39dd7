"""standby_config: the files that make a data directory a standby, for each major version."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Literal, TypeAlias
from urllib.parse import quote

import attrs
from packaging.version import Version

from pgreplkit.catalog.features import has
from pgreplkit.errors import UnsupportedByServer
from pgreplkit.values.applicationname import checked_application_name
from pgreplkit.values.conninfosyntax import (
    BY_ROLE,
    PARAMETER_SINCE,
    format_conninfo,
    parse_conninfo,
)
from pgreplkit.values.flags import checked_flags, optional_flags
from pgreplkit.values.lsn import LSN
from pgreplkit.values.milliseconds import delay_milliseconds
from pgreplkit.values.record import Record
from pgreplkit.values.slotname import checked_slot_name
from pgreplkit.values.version import AnyServerVersion, ServerVersion

TargetTimeline: TypeAlias = int | Literal["latest", "current"]
TargetAction: TypeAlias = Literal["pause", "promote", "shutdown"]

RECOVERY_TARGETS = (
    "recovery_target",
    "recovery_target_lsn",
    "recovery_target_name",
    "recovery_target_time",
    "recovery_target_xid",
)
"""Settings that end recovery at some point, after which a server is no longer a standby."""
AT_TARGET = ("recovery_target_action", "recovery_target_inclusive")
"""Settings about the end of recovery, without effect if there is no recovery target."""
_OPTIONAL = {
    "gssencmode": ("disable", "prefer"),
    "channel_binding": ("disable", "prefer"),
    "sslnegotiation": ("postgres",),
    "sslcertmode": ("disable", "allow"),
    "gssdelegation": ("0",),
    **dict.fromkeys(("tcp_user_timeout", "sslsni", "servicefile", "sslkeylogfile"), None),
    **dict.fromkeys(("ssl_max_protocol_version", "max_protocol_version"), None),
    **dict.fromkeys(("min_protocol_version", "oauth_scope", "oauth_issuer"), None),
    **dict.fromkeys(("oauth_client_id", "oauth_client_secret"), None),
}
"""Parameters that can be omitted for an older libpq, with the values for which this is safe; None
means any value. Omitting another parameter makes the connection less secure, or impossible."""
_SIGNAL = "standby.signal"
_OLD_FILE, _NEW_FILE = "recovery.conf", "postgresql.auto.conf"
_ESCAPES = str.maketrans({"\\": "\\\\", "'": "''", "\n": "\\n", "\r": "\\r", "\t": "\\t"})


@attrs.frozen(kw_only=True)
class StandbyConfig(Record):
    """The settings and files that make a data directory a standby.

    ``str()`` returns the settings as the server reads them.

    >>> from datetime import timedelta
    >>> old = standby_config("host=db1", server_version=11, apply_delay=timedelta(hours=1))
    >>> print(old.files["recovery.conf"], end="")
    standby_mode = 'on'
    primary_conninfo = 'host=db1'
    recovery_min_apply_delay = '3600000'
    recovery_target_timeline = 'latest'
    """

    _left_out = ("files",)

    settings: Mapping[str, str] = attrs.field(repr=False)
    """Settings by name, in the order of the file; a connection string may contain a password."""
    settings_file: str
    """File in the data directory: recovery.conf before version 12, then postgresql.auto.conf, to
    which the settings are appended."""
    signal_file: str | None
    """Empty file that makes the server a standby; None before version 12."""

    def __str__(self) -> str:
        return "".join(f"{name} = {quoted(value)}\n" for name, value in self.settings.items())

    @property
    def files(self) -> dict[str, str]:
        """The content of each file, by its name in the data directory."""
        signal = {} if self.signal_file is None else {self.signal_file: ""}
        return {**signal, self.settings_file: str(self)}


def standby_config(
    primary_conninfo: str,
    *,
    server_version: AnyServerVersion,
    slot: str | None = None,
    application_name: str | None = None,
    apply_delay: timedelta | None = None,
    restore_command: str | None = None,
    trigger_file: str | None = None,
    recovery_target_lsn: LSN | None = None,
    recovery_target_time: datetime | None = None,
    recovery_target_xid: int | None = None,
    recovery_target_name: str | None = None,
    recovery_target_immediate: bool = False,
    recovery_target_inclusive: bool | None = None,
    recovery_target_timeline: TargetTimeline = "latest",
    recovery_target_action: TargetAction | None = None,
) -> StandbyConfig:
    """Return the files with which a server of that version starts as a standby.

    ``application_name`` is the name of the standby on its primary, for example in
    synchronous_standby_names. Store a password in a password file, not in ``primary_conninfo``.
    At most one recovery target may be given.

    Connection parameters that choose a server by its role are omitted, and so are optional ones
    that libpq of that major version does not know.

    >>> config = standby_config("host=db1 user=rep", server_version=18, slot="replica1")
    >>> print(config, end="")
    primary_conninfo = 'host=db1 user=rep'
    primary_slot_name = 'replica1'
    recovery_target_timeline = 'latest'

    Raises:
        UnsupportedByServer: For a ``trigger_file`` from version 16 on, or for a necessary
            connection parameter that the version does not know.
        InvalidSlotName: If ``slot`` is not a valid name.
        ValueError: For several recovery targets, a time without time zone, or a value out of range.
        TypeError: For a value of another type.
    """
    checked_flags(recovery_target_immediate=recovery_target_immediate)
    optional_flags(recovery_target_inclusive=recovery_target_inclusive)
    version = ServerVersion(server_version)
    target = _RecoveryTarget(
        lsn=recovery_target_lsn,
        time=recovery_target_time,
        xid=recovery_target_xid,
        name=recovery_target_name,
        immediate=recovery_target_immediate,
        inclusive=recovery_target_inclusive,
        timeline=recovery_target_timeline,
        action=recovery_target_action,
    )
    connection = _connection_settings(version, primary_conninfo, slot, application_name)
    replay = _replay_settings(version, trigger_file, restore_command, apply_delay)
    return _config(version, {**connection, **replay, **target.settings(version.major)})


def fit_conninfo(conninfo: str, version: Version) -> str:
    """Return the connection string as a walreceiver of that version can use it.

    >>> fit_conninfo("host=a,b target_session_attrs=primary gssencmode=disable", Version("11"))
    'host=a,b'

    Raises:
        UnsupportedByServer: For a necessary parameter that the version does not know.
    """
    try:
        parts = parse_conninfo(conninfo)
    except ValueError:
        return conninfo  # The server reports what is wrong with it.
    kept = {}
    for name, value in parts.items():
        since = PARAMETER_SINCE.get(name, 10)
        if (name, value) == ("sslrootcert", "system"):
            since = 16  # Before version 16, "system" is the name of a file.
        if name in BY_ROLE:
            continue
        if since <= version.major:
            kept[name] = value
        elif name not in _OPTIONAL or value not in (_OPTIONAL[name] or (value,)):
            raise UnsupportedByServer(f"the connection parameter {name}", since, str(version))
    # An unchanged string stays as the user wrote it, URI or not.
    return conninfo if kept == parts else format_conninfo(kept)


def quoted(value: str) -> str:
    r"""Return the value of a setting as the server reads it from a file.

    >>> print(quoted(r"it's C:\wal"))
    'it''s C:\\wal'
    """
    if "\0" in value:
        raise ValueError("settings must not contain NUL characters")
    return f"'{value.translate(_ESCAPES)}'"


def named(conninfo: str, application_name: str | None) -> str:
    """Return the connection string with another application_name.

    >>> named("host=db1", "it's me")
    "host=db1 application_name='it\\\\'s me'"
    >>> named("postgresql://db1/?sslmode=require", "replica 1")
    'postgresql://db1/?sslmode=require&application_name=replica%201'
    """
    if application_name is None:
        return conninfo
    # libpq uses the last of several values, so that an earlier name need not be removed.
    if conninfo.startswith(("postgresql://", "postgres://")):
        mark = "&" if "?" in conninfo else "?"
        return f"{conninfo}{mark}application_name={quote(application_name, safe='')}"
    escaped = application_name.replace("\\", "\\\\").replace("'", "\\'")
    value = application_name if application_name.isalnum() else f"'{escaped}'"
    return f"{conninfo} application_name={value}".strip()


# The parameter of standby_config hides the function of the same name.
def _config(version: Version, settings: Mapping[str, str | None]) -> StandbyConfig:
    """Return the configuration with those of the settings that are not None."""
    is_old = not has("standby.recovery_settings", version.major)
    return StandbyConfig(
        settings={name: value for name, value in settings.items() if value is not None},
        settings_file=_OLD_FILE if is_old else _NEW_FILE,
        signal_file=None if is_old else _SIGNAL,
    )


def _connection_settings(
    version: Version, conninfo: str, slot: str | None, application_name: str | None
) -> dict[str, str | None]:
    if not isinstance(conninfo, str):
        raise TypeError(f"primary_conninfo must be a str, not {type(conninfo).__name__}")
    _check_types(str, application_name=application_name)
    if application_name is not None:
        checked_application_name(application_name)
    return {
        # Before 12, a setting in recovery.conf has the meaning of the signal file.
        "standby_mode": None if has("standby.recovery_settings", version.major) else "on",
        "primary_conninfo": named(fit_conninfo(conninfo, version), application_name),
        "primary_slot_name": None if slot is None else checked_slot_name(slot),
    }


def _replay_settings(
    version: Version,
    trigger_file: str | None,
    restore_command: str | None,
    apply_delay: timedelta | None,
) -> dict[str, str | None]:
    _check_types(str, trigger_file=trigger_file, restore_command=restore_command)
    _check_types(timedelta, apply_delay=apply_delay)
    if trigger_file is not None and has("standby.no_trigger_file", version.major):
        raise UnsupportedByServer("a trigger file", 10, str(version), until=15)
    is_renamed = has("standby.recovery_settings", version.major)
    return {
        "promote_trigger_file" if is_renamed else "trigger_file": trigger_file,
        "restore_command": restore_command,
        "recovery_min_apply_delay": _milliseconds(apply_delay),
    }


def _check_types(kind: type, **arguments: object) -> None:
    for name, value in arguments.items():
        if value is not None and not isinstance(value, kind):
            raise TypeError(f"{name} must be a {kind.__name__}, not {type(value).__name__}")


def _milliseconds(delay: timedelta | None) -> str | None:
    return None if delay is None else str(delay_milliseconds(delay, "apply_delay"))


def _timeline_text(timeline: TargetTimeline, major: int) -> str | None:
    # bool is a subclass of int.
    is_number = type(timeline) is int and 0 < timeline < 1 << 32
    if not is_number and timeline not in ("latest", "current"):
        raise ValueError(
            "recovery_target_timeline must be a timeline ID, 'latest' or 'current', got"
            f" {timeline!r}"
        )
    # Before version 12 the timeline of the backup was the default and had no name.
    if timeline == "current" and not has("standby.recovery_settings", major):
        return None
    return str(timeline)


@attrs.frozen(kw_only=True)
class _RecoveryTarget:
    """The point at which recovery ends, if any, and the server's action at that point."""

    lsn: LSN | None
    time: datetime | None
    xid: int | None
    name: str | None
    immediate: bool
    inclusive: bool | None
    timeline: TargetTimeline
    action: TargetAction | None

    def __attrs_post_init__(self) -> None:
        _check_types(LSN, recovery_target_lsn=self.lsn)
        _check_types(datetime, recovery_target_time=self.time)
        _check_types(int, recovery_target_xid=self.xid)
        _check_types(str, recovery_target_name=self.name)
        if self.time is not None and self.time.tzinfo is None:
            raise ValueError("recovery_target_time must have a time zone")
        if self.xid is not None and not 0 <= self.xid < 1 << 64:
            raise ValueError(f"recovery_target_xid must have 64 bits, got {self.xid}")
        if self.action not in {None, "pause", "promote", "shutdown"}:
            raise ValueError(
                "recovery_target_action must be 'pause', 'promote' or 'shutdown', got"
                f" {self.action!r}"
            )
        given = [name for name, value in self._points.items() if value is not None]
        if len(given) > 1:
            # From 12 on the server would not start; before, the last one would win silently.
            raise ValueError(f"only one recovery target may be given, got {' and '.join(given)}")

    @property
    def _points(self) -> dict[str, str | None]:
        return {
            "recovery_target_lsn": None if self.lsn is None else str(self.lsn),
            "recovery_target_time": None if self.time is None else str(self.time),
            "recovery_target_xid": None if self.xid is None else str(self.xid),
            "recovery_target_name": self.name,
            "recovery_target": "immediate" if self.immediate else None,
        }

    def settings(self, major: int) -> dict[str, str | None]:
        """Return the settings of a major version; those that are not needed are None."""
        inclusive = None if self.inclusive is None else "on" if self.inclusive else "off"
        return {
            **self._points,
            "recovery_target_inclusive": inclusive,
            "recovery_target_timeline": _timeline_text(self.timeline, major),
            "recovery_target_action": self.action,
        }
