"""The settings of a server."""

from __future__ import annotations

from pgreplkit._async.wire.link import AsyncLink
from pgreplkit.catalog.server.settings import SETTINGS, Setting


async def read_settings(link: AsyncLink) -> dict[str, Setting]:
    """Return all settings that the role may see, by name."""
    records = await link.all("read the settings", SETTINGS.sql(link.version.major))
    return {setting.name: setting for setting in map(SETTINGS.read, records)}
