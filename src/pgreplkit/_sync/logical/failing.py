# Generated from pgreplkit/_async/logical/failing.py by `nox -s sync`. Do not edit.
"""Find the transaction that a subscription cannot apply."""

from __future__ import annotations

import attrs

from pgreplkit._sync._io import sleep
from pgreplkit._sync.logical.conflictlog import read_log
from pgreplkit._sync.server.server import Server
from pgreplkit._sync.server.slot import Slot, read_slot
from pgreplkit._sync.wire.link import Link
from pgreplkit._text import quote_identifier
from pgreplkit.catalog.features import has
from pgreplkit.catalog.logical.subscription import ORIGIN_POSITION, SubscriptionState
from pgreplkit.driver.backoff import Backoff
from pgreplkit.driver.failures import UNDEFINED_OBJECT
from pgreplkit.errors import (
    InsufficientPrivilege,
    LogUnavailable,
    PublicationNotFound,
    ServerError,
    SlotActive,
    SlotNotFound,
    SubscriptionNotFound,
)
from pgreplkit.plans.logical.failing import FailedTransaction, first_failed, logged_error
from pgreplkit.values.lsn import LSN
from pgreplkit.values.seconds import Timeout


def find_failed(
    link: Link, state: SubscriptionState, publisher: Server, *, timeout: Timeout
) -> FailedTransaction | None:
    """Return the transaction at which the apply worker fails; None if it does not fail."""
    if state.subslotname is None:
        raise ServerError(
            f"find the failed transaction of {state.subname!r}",
            "the subscription has no slot; attach_slot() sets one",
        )
    slot = Slot(publisher._link, read_slot(publisher._link, state.subslotname))
    backoff = Backoff(timeout)
    while True:
        try:
            failed = _peek(slot, state, _applied(link, state))
        except SlotActive:
            # A failing worker uses the slot only briefly, once per wal_retrieve_retry_interval.
            if backoff.is_over:
                return None
            sleep(backoff.next_pause())
        else:
            break
    if failed is None:
        return None
    return attrs.evolve(failed, error=_logged(link, state, failed))


def _applied(link: Link, state: SubscriptionState) -> LSN:
    """Return the position up to which the publisher's transactions are applied."""
    record = link.one(
        f"read the position of {state.subname!r}",
        ORIGIN_POSITION,
        [f"pg_{state.oid}"],
        grant="EXECUTE ON FUNCTION pg_replication_origin_progress(text, boolean)",
        meaning={UNDEFINED_OBJECT: SubscriptionNotFound},
    )
    return record["lsn"] or LSN.INVALID


def _peek(slot: Slot, state: SubscriptionState, applied: LSN) -> FailedTransaction | None:
    publications = ",".join(quote_identifier(name) for name in state.subpublications)
    # The oldest version has all that is needed: commits and their positions.
    options = {"proto_version": "1", "publication_names": publications}
    # The worker never sees what the publisher left out.
    if state.suborigin == "none" and has("changes.origin", slot._link.version.major):
        options["origin"] = "none"
    # Transactions can be large: each look reads more only if the one before found nothing.
    limit = 1
    while True:
        try:
            changes = slot.peek(limit, options=options)
        except SlotNotFound as error:
            # The server reports a missing publication with the SQLSTATE of a missing slot.
            slot.refresh()
            found = f"{error.found}, or the slot is older than the publication; subscribe again"
            raise PublicationNotFound(error.operation, found, error.sqlstate) from None
        failed = first_failed(((change.lsn, change.data) for change in changes), applied)
        if failed is not None or len(changes) < limit:
            return failed
        # Transactions that are applied but not confirmed, and empty ones, come first.
        limit = 4 * len(changes)


def _logged(link: Link, state: SubscriptionState, failed: FailedTransaction) -> str | None:
    try:
        log = read_log(link)
    except (LogUnavailable, InsufficientPrivilege):
        return None
    return logged_error(log, state.oid, failed.finish_lsn)
