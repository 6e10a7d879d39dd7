"""Sample facts about single servers, for tests of decisions without servers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from pgreplkit import LSN
from pgreplkit.plans.server.readiness import Settings
from pgreplkit.rows import ArchiverStatus, Finding, Setting, WalSender
from pgreplkit.values.rows import Rows

NOW = datetime(2026, 1, 1, tzinfo=UTC)
_ENUMS = {"archive_mode", "synchronous_commit", "wal_level"}
_RELOADED = {"synchronous_standby_names", "max_slot_wal_keep_size", "wal_keep_size"}


def setting(name: str, value: object, *, unit: str | None = None) -> Setting:
    """A setting as pg_settings has it; numbers become integers, on and off booleans."""
    text = None if value is None else str(value)
    vartype = "enum" if name in _ENUMS else "string"
    if text is not None and text.removeprefix("-").isdigit():
        vartype = "integer"
    elif text in {"on", "off"} and name not in _ENUMS:
        vartype = "bool"
    return Setting(
        name=name,
        setting=text,
        unit=unit,
        category="",
        short_desc="",
        extra_desc=None,
        context="sighup" if name in _RELOADED else "postmaster",
        vartype=vartype,
        source="default",
        min_val=None,
        max_val=None,
        enumvals=None,
        boot_val=None,
        reset_val=None,
        sourcefile=None,
        sourceline=None,
        pending_restart=False,
    )


def settings(**values: object) -> Settings:
    """Settings by name; a tuple has a value and a unit."""
    return {
        name: setting(name, value[0], unit=value[1])
        if isinstance(value, tuple)
        else setting(name, value)
        for name, value in values.items()
    }


SETTINGS_SINCE = {
    **dict.fromkeys(
        (
            *("wal_level", "track_commit_timestamp", "session_replication_role"),
            *("max_replication_slots", "max_wal_senders", "max_worker_processes"),
            *("max_logical_replication_workers", "max_sync_workers_per_subscription"),
            *("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"),
        ),
        10,
    ),
    **dict.fromkeys(("recovery_min_apply_delay", "recovery_target_timeline"), 12),
    **dict.fromkeys(("primary_conninfo", "primary_slot_name", "restore_command"), 12),
    **dict.fromkeys(("max_slot_wal_keep_size", "wal_keep_size"), 13),
    "archive_library": 15,
    **dict.fromkeys(("sync_replication_slots", "synchronized_standby_slots"), 17),
    **dict.fromkeys(("allow_alter_system", "transaction_timeout"), 17),
    **dict.fromkeys(("max_active_replication_origins", "idle_replication_slot_timeout"), 18),
    "idle_session_timeout": 14,
}
"""Settings of replication and of sessions, each with the first major version that has
it; a test asks the servers."""


def insufficient_settings(major: int) -> Settings:
    """The settings of a major version, all of them too low."""
    names = [name for name, since in SETTINGS_SINCE.items() if major >= since]
    return settings(**dict.fromkeys(names, 1))


def settings_named(findings: Iterable[Finding]) -> set[str]:
    """The settings that remedies set."""
    texts = " ".join(one.remedy or "" for one in findings)
    return {*re.findall(r"(?:SYSTEM |DATABASE \S+ )SET (\w+)", texts)}


def newer_settings(findings: Iterable[Finding], major: int) -> set[str]:
    """The settings that findings name although a major version lacks them."""
    newer = {name for name, since in SETTINGS_SINCE.items() if major < since}
    texts = [" ".join(map(str, (one.check, one.found, one.needed, one.remedy))) for one in findings]
    # Before 12, settings of recovery have a file of their own.
    return {
        word
        for text in texts
        if "recovery.conf" not in text
        for word in re.findall(r"\w+", text)
        if word in newer
    }


def sender(name: str = "replica", **changed: object) -> WalSender:
    """A standby that streams and has flushed and replayed everything."""
    facts: dict[str, object] = {
        "pid": 100,
        "usesysid": 10,
        "usename": "replicator",
        "application_name": name,
        "client_addr": None,
        "client_hostname": None,
        "client_port": -1,
        "backend_start": NOW,
        "backend_xmin": None,
        "state": "streaming",
        "sent_lsn": LSN("0/3000100"),
        "write_lsn": LSN("0/3000100"),
        "flush_lsn": LSN("0/3000100"),
        "replay_lsn": LSN("0/3000100"),
        "write_lag": None,
        "flush_lag": None,
        "replay_lag": None,
        "sync_priority": 0,
        "sync_state": "async",
        "current_lsn": LSN("0/3000100"),
    }
    return WalSender(**facts | changed)  # type: ignore[arg-type]


def archiver(**changed: object) -> ArchiverStatus:
    """An archiver that has archived one file and has never failed."""
    facts: dict[str, object] = {
        "archive_mode": "on",
        "archived_count": 1,
        "last_archived_wal": "000000010000000000000002",
        "last_archived_time": NOW,
        "failed_count": 0,
        "last_failed_wal": None,
        "last_failed_time": None,
    }
    return ArchiverStatus(**facts | changed)  # type: ignore[arg-type]


LAG = timedelta(seconds=1.5)
REPLICAS = Rows(
    [sender("a", replay_lsn=LSN(0x3000000), replay_lag=LAG), sender("b", replay_lsn=LSN(0x2000000))]
)
