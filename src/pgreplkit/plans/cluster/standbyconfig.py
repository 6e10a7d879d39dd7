"""standby_config: the files that make a data directory a standby, for each major version."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Literal, TypeAlias
from urllib.parse import quote

import attrs
from packaging.version import Version

from pgreplkit.catalog.features import has
from pgreplkit.errors import UnsupportedByServer
from pgreplkit.values.applicationname import checked_application_name
from pgreplkit.values.conninfosyntax import PARAMETER_SINCE, format_conninfo, parse_conninfo
from pgreplkit.values.lsn import LSN
from pgreplkit.values.milliseconds import delay_milliseconds
from pgreplkit.values.slotname import checked_slot_name
from pgreplkit.values.version import ServerVersion, server_version

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
_WRONG_ROLE = ("target_session_attrs", "load_balance_hosts")
"""Parameters that choose a server by its role: a walreceiver must follow a server of any role."""
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
class StandbyConfig:
    """The settings and files that make a data directory a standby.

    ``str()`` returns the settings as the server reads them.
    """

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
    server_version: ServerVersion,
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

    >>> config = standby_config("host=db1 user=rep", server_version=18, slot="replica1")
    >>> config.signal_file, config.settings_file
    ('standby.signal', 'postgresql.auto.conf')
    >>> print(config, end="")
    primary_conninfo = 'host=db1 user=rep'
    primary_slot_name = 'replica1'
    recovery_target_timeline = 'latest'
    >>> from datetime import timedelta
    >>> old = standby_config("host=db1", server_version=11, apply_delay=timedelta(hours=1))
    >>> print(old.files["recovery.conf"], end="")
    standby_mode = 'on'
    primary_conninfo = 'host=db1'
    recovery_min_apply_delay = '3600000'
    recovery_target_timeline = 'latest'

    Connection parameters that choose a server by its role are omitted, and so are optional ones
    that libpq of that major version does not know.

    Raises:
        UnsupportedByServer: For a ``trigger_file`` from version 16 on, or for a necessary
            connection parameter that the version does not know.
        InvalidSlotName: If ``slot`` is not a valid name.
        ValueError: For several recovery targets, a time without time zone, or a value out of range.
        TypeError: For a value of another type.
    """
    texts = (primary_conninfo, application_name, restore_command, trigger_file)
    _insist_on(str, primary_conninfo, *(t for t in (*texts, recovery_target_name) if t is not None))
    _insist_on(bool, recovery_target_immediate, *_given(recovery_target_inclusive))
    _insist_on(timedelta, *_given(apply_delay))
    _insist_on(LSN, *_given(recovery_target_lsn))
    _insist_on(datetime, *_given(recovery_target_time))
    _insist_on(int, *_given(recovery_target_xid))
    if recovery_target_action not in {None, "pause", "promote", "shutdown"}:
        raise ValueError(
            "recovery_target_action must be 'pause', 'promote' or 'shutdown', got"
            f" {recovery_target_action!r}"
        )
    if application_name is not None:
        checked_application_name(application_name)
    version = _version_of(server_version)
    if trigger_file is not None and has("standby.no_trigger_file", version.major):
        raise UnsupportedByServer("a trigger file", 10, str(version), until=15)
    is_old = not has("standby.recovery_settings", version.major)
    settings = {
        "standby_mode": "on" if is_old else None,
        "primary_conninfo": named(fit_conninfo(primary_conninfo, version), application_name),
        "primary_slot_name": None if slot is None else checked_slot_name(slot),
        "trigger_file" if is_old else "promote_trigger_file": trigger_file,
        "restore_command": restore_command,
        "recovery_min_apply_delay": _milliseconds(apply_delay),
        **_target(
            lsn=recovery_target_lsn,
            time=recovery_target_time,
            xid=recovery_target_xid,
            name=recovery_target_name,
            immediate=recovery_target_immediate,
        ),
        "recovery_target_inclusive": _on_or_off(recovery_target_inclusive),
        **_timeline(recovery_target_timeline, version.major),
        "recovery_target_action": recovery_target_action,
    }
    return StandbyConfig(
        settings={name: value for name, value in settings.items() if value is not None},
        settings_file=_OLD_FILE if is_old else _NEW_FILE,
        signal_file=None if is_old else _SIGNAL,
    )


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
        if name in _WRONG_ROLE:
            continue
        if since <= version.major:
            kept[name] = value
        elif name not in _OPTIONAL or value not in (_OPTIONAL[name] or (value,)):
            raise UnsupportedByServer(f"the connection parameter {name}", since, str(version))
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
    if conninfo.startswith(("postgresql://", "postgres://")):
        mark = "&" if "?" in conninfo else "?"
        return f"{conninfo}{mark}application_name={quote(application_name, safe='')}"
    escaped = application_name.replace("\\", "\\\\").replace("'", "\\'")
    value = application_name if application_name.isalnum() else f"'{escaped}'"
    return f"{conninfo} application_name={value}".strip()


# The parameter of standby_config hides the function of the same name.
_version_of = server_version


def _insist_on(kind: type, *values: object) -> None:
    for value in values:
        if not isinstance(value, kind):
            raise TypeError(f"expected {kind.__name__}, got {type(value).__name__}")


def _given(value: object) -> tuple[object, ...]:
    return () if value is None else (value,)


def _milliseconds(delay: timedelta | None) -> str | None:
    return None if delay is None else str(delay_milliseconds(delay, "apply_delay"))


def _on_or_off(value: bool | None) -> str | None:
    return None if value is None else "on" if value else "off"


def _timeline(timeline: TargetTimeline, major: int) -> dict[str, str | None]:
    is_number = type(timeline) is int and 0 < timeline < 1 << 32
    if not is_number and timeline not in ("latest", "current"):
        raise ValueError(
            "recovery_target_timeline must be a timeline ID, 'latest' or 'current', got"
            f" {timeline!r}"
        )
    # Before version 12 the timeline of the backup was the default and had no name.
    if timeline == "current" and not has("standby.recovery_settings", major):
        return {}
    return {"recovery_target_timeline": str(timeline)}


def _target(
    *,
    lsn: LSN | None,
    time: datetime | None,
    xid: int | None,
    name: str | None,
    immediate: bool,
) -> dict[str, str | None]:
    if time is not None and time.tzinfo is None:
        raise ValueError("recovery_target_time must have a time zone")
    if xid is not None and not 0 <= xid < 1 << 64:
        raise ValueError(f"recovery_target_xid must have 64 bits, got {xid}")
    targets = {
        "recovery_target_lsn": None if lsn is None else str(lsn),
        "recovery_target_time": None if time is None else str(time),
        "recovery_target_xid": None if xid is None else str(xid),
        "recovery_target_name": name,
        "recovery_target": "immediate" if immediate else None,
    }
    given = [target for target, value in targets.items() if value is not None]
    if len(given) > 1:
        raise ValueError(f"only one recovery target may be given, got {' and '.join(given)}")
    return targets
