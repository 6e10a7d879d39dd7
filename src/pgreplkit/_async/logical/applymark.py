"""AsyncStoredMark: the publisher's note of what a node of a mesh has stored."""

from __future__ import annotations

import time

from pgreplkit._async.wire.link import AsyncLink
from pgreplkit.apply.settings import ApplySettings
from pgreplkit.catalog.logical import applying
from pgreplkit.catalog.mesh import members as sql
from pgreplkit.errors import ApplyError, ServerError
from pgreplkit.values.lsn import LSN

_SHARE = 50
"""Notes take at most this part of a run's time, also where the publisher is far away."""


class AsyncStoredMark:
    """The end of the last change that the subscriber has stored, noted on the publisher.

    A subscriber that has less was restored from a backup, or is a standby that had not replayed
    everything. The slot no longer has the changes between, and the server would skip them silently.
    The slot's own position does not show that: it is later wherever WAL has no change to apply.
    """

    def __init__(self, publisher: AsyncLink, settings: ApplySettings) -> None:
        self._publisher, self._settings = publisher, settings
        self._noted: LSN | None = None
        """None if the publisher notes nothing, as without a mesh."""
        self._not_before = 0.0

    async def check(self, stored: LSN) -> None:
        """Compare the position that the subscriber has stored.

        Raises: ApplyError if it is before the one that was noted.
        """
        link, operation = self._publisher, self._settings.operation
        is_member = self._settings.membership is not None
        if not is_member or not (await link.one(operation, sql.HAS_STREAMS))["has_streams"]:
            return
        records = await link.all(operation, sql.STREAM, [self._settings.slot])
        if not records:
            return
        noted = LSN(str(records[0]["stored"]))
        if stored < noted:
            raise ApplyError(
                operation,
                f"the subscriber has the publisher's changes up to {stored}, and had them up to"
                f" {noted} before: it was restored, or was a standby; the slot no longer has those"
                " between",
                remedy=self._settings.lost_slot_remedy,
            )
        # A lost note only means that a restore could be overlooked.
        await link.all(operation, applying.SET, ["synchronous_commit", "off"])
        self._noted = noted

    async def note(self, stored: LSN) -> None:
        """Note a position that the subscriber has flushed, if it is time."""
        if self._noted is None or stored <= self._noted or time.monotonic() < self._not_before:
            return
        began = time.monotonic()
        try:
            row = [stored, self._settings.slot]
            await self._publisher.all(self._settings.operation, sql.NOTE_STREAM, row)
        except ServerError:
            # The stream itself is well, and the next run continues to note.
            self._noted = None
            return
        self._noted = stored
        ended = time.monotonic()
        self._not_before = ended + _SHARE * (ended - began)
