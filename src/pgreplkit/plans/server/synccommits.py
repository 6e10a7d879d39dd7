"""confirming: the receivers that confirm commits, as the server chooses among them."""

from __future__ import annotations

from collections.abc import Sequence

from pgreplkit.catalog.server.senders import WalSender
from pgreplkit.values.syncnames import SyncMethod, SyncStandbyNames


def confirming(
    names: SyncStandbyNames, senders: Sequence[WalSender], *, synchronous_commit: object
) -> tuple[str, ...]:
    """Return the application names of the receivers that confirm commits.

    The server chooses among all receivers that report a flush position. With
    synchronous_commit = remote_apply it then waits for their replay, and a program such as
    pg_receivewal never replays: if one is among the chosen, only the others of them confirm.
    """
    able = [sender for sender in senders if sender.confirms_commits]
    if synchronous_commit != "remote_apply":
        return tuple(sender.application_name for sender in able)
    replaying = [sender for sender in able if sender.replay_lsn is not None]
    if names.method is SyncMethod.FIRST:
        chosen = _first(names, able)
        if not all(sender.replay_lsn is not None for sender in chosen):
            replaying = [sender for sender in chosen if sender.replay_lsn is not None]
    return tuple(sender.application_name for sender in replaying)


def unreplaying(names: SyncStandbyNames, senders: Sequence[WalSender]) -> tuple[str, ...]:
    """Return the listed receivers that flush what they receive and never replay it."""
    return tuple(
        sender.application_name
        for sender in senders
        if sender.confirms_commits and sender.replay_lsn is None and _priority(names, sender)
    )


def _first(names: SyncStandbyNames, able: Sequence[WalSender]) -> list[WalSender]:
    listed = [(priority, s) for s in able if (priority := _priority(names, s))]
    # Of several with one priority any may be chosen: the worst choice counts.
    listed.sort(key=lambda pair: (pair[0], pair[1].replay_lsn is not None))
    return [sender for _, sender in listed[: names.count]]


def _priority(names: SyncStandbyNames, sender: WalSender) -> int:
    """Return the receiver's place in the list, from 1 on; 0 if it is not listed."""
    for place, name in enumerate(names.names, 1):
        if name == "*" or sender.application_name in SyncStandbyNames((name,)):
            return place
    return 0
