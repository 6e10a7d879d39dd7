"""Setting: a row of pg_settings, with its value as a Python object."""

import re
from datetime import timedelta
from typing import TypeAlias

import attrs

from pgreplkit.catalog.view import View
from pgreplkit.values.openenum import OpenEnum
from pgreplkit.values.record import Record

SettingValue: TypeAlias = bool | int | float | timedelta | str | None
"""The types of ``Setting.value``, by the setting's type and unit."""

_UNIT = re.compile(r"([0-9]*)([A-Za-z]+)")
_BYTES = {"B": 1, "kB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}
_TIMES = {
    "us": timedelta(microseconds=1),
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "min": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}


class VarType(OpenEnum):
    """The type of a setting, in the server's words."""

    BOOL = "bool"
    ENUM = "enum"
    INTEGER = "integer"
    REAL = "real"
    STRING = "string"


class SettingContext(OpenEnum):
    """The context in which a setting can be changed."""

    INTERNAL = "internal"
    """Nowhere: it was fixed by the build of the server or by initdb."""
    POSTMASTER = "postmaster"
    """In the configuration, with a restart."""
    SIGHUP = "sighup"
    """In the configuration, with a reload."""
    SUPERUSER_BACKEND = "superuser-backend"
    BACKEND = "backend"
    SUPERUSER = "superuser"
    USER = "user"


def _words(words: list[str] | tuple[str, ...] | None) -> tuple[str, ...] | None:
    return None if words is None else tuple(words)


@attrs.frozen(kw_only=True)
class Setting(Record):
    """A row of pg_settings, with the server's texts and the typed ``value``.

    Source: pg_settings.
    """

    name: str
    setting: str | None
    """The text, in the setting's ``unit``."""
    unit: str | None
    category: str
    short_desc: str
    extra_desc: str | None
    context: SettingContext = attrs.field(converter=SettingContext)
    vartype: VarType = attrs.field(converter=VarType)
    source: str
    min_val: str | None
    max_val: str | None
    enumvals: tuple[str, ...] | None = attrs.field(converter=_words)
    """The words that an enum accepts."""
    boot_val: str | None
    reset_val: str | None
    sourcefile: str | None
    """None for roles that are not in pg_read_all_settings."""
    sourceline: int | None
    pending_restart: bool

    @property
    def value(self) -> SettingValue:
        """The value as bool, int, float or str; with a unit as int bytes or as timedelta.

        A negative number with a unit is None: it means "no limit" or "automatic".
        """
        text = self.setting
        if text is None:
            return None
        match self.vartype:
            case VarType.BOOL:
                return text == "on"
            case VarType.INTEGER:
                # Permissions (log_file_mode and the like) are shown in octal, with a leading 0.
                is_octal = len(text) > 1 and text.startswith("0")
                return _measured(int(text, 8 if is_octal else 10), self.unit)
            case VarType.REAL:
                return _measured(float(text), self.unit)
        return text


def _measured(number: int | float, unit: str | None) -> int | float | timedelta | None:
    match = _UNIT.fullmatch(unit or "")
    if match is None:
        return number
    if number < 0:
        return None
    count, word = int(match[1] or 1), match[2]
    if word in _BYTES:
        return int(number * count * _BYTES[word])
    return number * count * _TIMES[word] if word in _TIMES else number


def seconds_in(text: str) -> float:
    """Return the seconds of a time as written by SHOW, such as 1min; 0 without a unit."""
    match = _UNIT.fullmatch(text)
    return int(match[1]) * _TIMES[match[2]].total_seconds() if match else 0.0


SETTINGS = View(Setting, "pg_settings")
"""All settings that the role may see."""
ONE_SETTING = View(Setting, "pg_settings WHERE pg_catalog.lower(name) = pg_catalog.lower(%s::text)")
