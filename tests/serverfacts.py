"""Sample facts about single servers, for tests of decisions without servers."""

from __future__ import annotations

from pgreplkit import Setting
from pgreplkit.plans.server.readiness import Settings

_RELOADED = {"synchronous_standby_names", "max_slot_wal_keep_size", "wal_keep_size"}


def setting(name: str, value: object, *, unit: str | None = None) -> Setting:
    """A setting as pg_settings has it; numbers become integers, on and off booleans."""
    text = None if value is None else str(value)
    vartype = "string"
    if text is not None and text.removeprefix("-").isdigit():
        vartype = "integer"
    elif text in {"on", "off"}:
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
