# Generated from pgreplkit/_async/logical/failing.py by `nox -s sync`. Do not edit.
"""Finding the transaction that a subscription cannot get over."""

from __future__ import annotations

import attrs

from pgreplkit._sync._io import sleep
from pgreplkit._sync.logical.conflictlog import read_log
from pgreplkit._sync.server.server import Server
from pgreplkit._sync.server.slot import Slot, read_slot
from pgreplkit._sync.wire.link import Link
from pgreplkit._text import quote_identifier
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


def find_failed(
    link: Link, state: SubscriptionState, publisher: Server, *, timeout: float
) -> FailedTransaction | None:
    """The transaction that its apply worker fails at; None when it does not fail."""
    if state.subslotname is None:
        raise ServerError(f"find what fails in {state.subname!r}", "it has no slot: attach_slot()")
    slot = Slot(publisher._link, read_slot(publisher._link, state.subslotname))
    backoff = Backoff(timeout)
    while True:
        try:
            failed = _peek(slot, state, _applied(link, state))
        except SlotActive:
            # A worker that fails has it for a moment only, every wal_retrieve_retry_interval.
            if backoff.is_over:
                return None
            sleep(backoff.next_pause())
        else:
            break
    if failed is None:
        return None
    return attrs.evolve(failed, error=_logged(link, state, failed))


def _applied(link: Link, state: SubscriptionState) -> LSN:
    """Up to where the publisher's transactions are applied."""
    record = link.one(
        f"ask how far {state.subname!r} is",
        ORIGIN_POSITION,
        [f"pg_{state.oid}"],
        grant="EXECUTE ON FUNCTION pg_replication_origin_progress(text, boolean)",
        meaning={UNDEFINED_OBJECT: SubscriptionNotFound},
    )
    return record["lsn"] or LSN.INVALID


def _peek(slot: Slot, state: SubscriptionState, applied: LSN) -> FailedTransaction | None:
    publications = ",".join(quote_identifier(name) for name in state.subpublications)
    options = {"proto_version": "1", "publication_names": publications}
    if state.suborigin == "none" and slot._link.version.major >= 16:
        options["origin"] = "none"
    limit = 1
    while True:
        try:
            changes = slot.peek(limit, options=options)
        except SlotNotFound as error:
            # The server tells a publication that is missing as it tells a slot.
            slot.refresh()
            found = f"{error.found}, or the slot is older than the publication: make it anew"
            raise PublicationNotFound(error.operation, found, error.sqlstate) from None
        failed = first_failed(((change.lsn, change.data) for change in changes), applied)
        if failed is not None or len(changes) < limit:
            return failed
        # Transactions that are applied, and not yet confirmed, come first; empty ones too.
        limit = 4 * len(changes)


def _logged(link: Link, state: SubscriptionState, failed: FailedTransaction) -> str | None:
    try:
        log = read_log(link)
    except (LogUnavailable, InsufficientPrivilege):
        return None
    return logged_error(log, state.oid, failed.finish_lsn)
