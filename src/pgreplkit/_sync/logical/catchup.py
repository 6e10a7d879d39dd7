# Generated from pgreplkit/_async/logical/catchup.py by `nox -s sync`. Do not edit.
"""Wait until a subscription has applied the publisher's transactions."""

from __future__ import annotations

from contextlib import suppress

from pgreplkit._sync._io import sleep
from pgreplkit._sync.server.slot import Slot
from pgreplkit._sync.wire.link import Link
from pgreplkit.catalog.logical.subscription import ORIGIN_POSITION, PASSED, SubscriptionState
from pgreplkit.driver.backoff import Backoff
from pgreplkit.errors import WaitTimeout
from pgreplkit.values.lsn import LSN
from pgreplkit.values.seconds import Timeout

_FIRST = 0.001
"""Seconds: a worker without a lag applies a transaction within one or two milliseconds, and in a
cutover no one can write until it is done."""


def wait_for_applied(
    link: Link, state: SubscriptionState, slot: Slot, target: LSN, *, timeout: Timeout
) -> None:
    """Wait until the publisher's transactions before ``target`` are applied and flushed.

    Raises: WaitTimeout; SlotLost; SlotNotFound.
    """
    backoff = Backoff(timeout, first=_FIRST)
    while not _has_applied(link, state, target):
        with suppress(WaitTimeout):
            # The worker reports to the slot about 0.2 seconds after it has applied a transaction.
            slot.wait_for_catchup(target, timeout=0)
            return
        if backoff.is_over:
            slot_state = slot.state
            used = f"used by process {slot_state.active_pid}" if slot_state.active else "unused"
            raise WaitTimeout(
                f"timed out after {backoff.limit:g} s waiting for {state.subname!r} to apply"
                f" {target}: its slot is at {slot_state.reached_lsn}, {used}"
            )
        sleep(backoff.next_pause())


def _has_applied(link: Link, state: SubscriptionState, target: LSN) -> bool:
    """Return whether ``target`` is passed, and flush the transactions if it is.

    False also if the role may not read the origin's position, which flushes them.
    """
    operation = f"read the position of {state.subname!r}"
    passed = link.all(operation, PASSED, [state.oid])
    if not any(record["lsn"] >= target for record in passed):
        return False
    link.one(operation, ORIGIN_POSITION, [f"pg_{state.oid}"])
    return True
