# Generated from pgreplkit/_async/server/settings.py by `nox -s sync`. Do not edit.
"""The settings of a server."""

from __future__ import annotations

from pgreplkit._sync.wire.link import Link
from pgreplkit.catalog.server.settings import SETTINGS, Setting


def read_settings(link: Link) -> dict[str, Setting]:
    """Return all settings that the role may see, by name."""
    records = link.all("read the settings", SETTINGS.sql(link.version.major))
    return {setting.name: setting for setting in map(SETTINGS.read, records)}
