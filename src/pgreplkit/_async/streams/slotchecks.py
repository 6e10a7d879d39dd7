"""Checks of a slot and its publications, on a walsender that does not stream yet."""

from __future__ import annotations

from collections.abc import Sequence

from pgreplkit._async.wire.walsender import AsyncWalsender
from pgreplkit.catalog.logical.stuck import PUBLICATION_NAMES
from pgreplkit.catalog.server.slot import TROUBLE, USED_BY
from pgreplkit.driver.failures import (
    FEATURE_NOT_SUPPORTED,
    NOT_IN_PREREQUISITE_STATE,
    OBJECT_IN_USE,
    UNDEFINED_OBJECT,
)
from pgreplkit.errors import ServerError, SlotActive
from pgreplkit.plans.streams.slot import (
    missing_publications,
    publication_gap,
    slot_refusal,
    start_refusal,
)
from pgreplkit.values.lsn import LSN

_OF_THE_SLOT = {UNDEFINED_OBJECT, OBJECT_IN_USE, NOT_IN_PREREQUISITE_STATE, FEATURE_NOT_SUPPORTED}


async def check_slot(
    walsender: AsyncWalsender, operation: str, slot: str, sqlstate: str | None = None
) -> None:
    """Raise an error if the slot cannot be streamed here: before 13 the server reports it late.

    Raises: SlotNotFound; SlotLost; ServerError.
    """
    records = await walsender.query(operation, TROUBLE, [slot])
    refusal = slot_refusal(operation, records, sqlstate)
    if refusal is not None:
        raise refusal


async def check_publications(
    walsender: AsyncWalsender, operation: str, names: Sequence[str]
) -> None:
    """Raise PublicationNotFound if one of the publications does not exist.

    From 18 on the server skips it, and sends the changes of the others.
    """
    if names:
        existing = await walsender.query(operation, PUBLICATION_NAMES, [[*names]])
        missing = missing_publications(operation, names, existing)
        if missing is not None:
            raise missing


async def check_start(
    walsender: AsyncWalsender, operation: str, start: LSN, system_id: int | None
) -> int:
    """Raise an error if the server never had the WAL before ``start``; return its identifier.

    Raises: AheadOfServer; ServerError for another cluster than before.
    """
    identity = await walsender.identify()
    refusal = start_refusal(operation, start, identity, system_id)
    if refusal is not None:
        raise refusal
    return identity.system_id


async def explained(
    walsender: AsyncWalsender,
    operation: str,
    slot: str,
    names: Sequence[str],
    error: ServerError,
) -> ServerError:
    """Return a better error where the slot's state says more than the server did."""
    # A connection that streams or is closed takes no query.
    if error.sqlstate not in _OF_THE_SLOT or walsender.connection.closed or walsender.is_streaming:
        return error
    try:
        await check_slot(walsender, operation, slot, error.sqlstate)
    except ServerError as better:
        return better
    if error.sqlstate == OBJECT_IN_USE:
        return await slot_active(walsender, operation, slot)
    if error.sqlstate == UNDEFINED_OBJECT:
        return publication_gap(operation, names, error.found)
    return error


async def slot_active(walsender: AsyncWalsender, operation: str, slot: str) -> SlotActive:
    """Return the error for a slot that another process uses, which it names."""
    [user] = await walsender.query(operation, USED_BY, [slot])
    names = ("pid", "client_addr", "application_name")
    return SlotActive(operation, slot, *(user[name] for name in names))
