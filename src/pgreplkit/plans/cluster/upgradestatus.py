"""The state of an upgrade: its phase, its subscriptions and its fences."""

from collections.abc import Collection, Sequence

import attrs

from pgreplkit.plans.cluster.journal import CLONING
from pgreplkit.plans.cluster.upgrade import NEW, OLD, PREPARING, Names
from pgreplkit.plans.logical.subscription import SubscriptionStatus
from pgreplkit.values.openenum import OpenEnum
from pgreplkit.values.record import Record
from pgreplkit.values.tablename import TableName
from pgreplkit.values.text import wrapped


class UpgradePhase(OpenEnum):
    """The phase of an upgrade, recognized by the objects on both servers."""

    NEW = "new"
    """Nothing is prepared, or the upgrade was given up: then the new server is still fenced."""
    COPYING = "copying"
    """The preparation is not complete: tables are missing or being copied."""
    PREPARED = "prepared"
    """The new server follows; writes go to the old one."""
    SWITCHING = "switching"
    """A cutover, a rollback or an end was interrupted; resume its plan."""
    CUT_OVER = "cut over"
    """Writes go to the new server, and the old one follows."""
    FINISHED = "finished"
    """Writes go to the new server, and no replication is left; the old one stays fenced."""


_LOST_FORWARD = "changes are lost; give the upgrade up with plan_finish(), and prepare it again"
_LOST_UNUSED = "a rollback creates it again"
_LOST_BACK = "there is no way back any longer; plan_finish() with run(force=True) ends the upgrade"


@attrs.frozen(kw_only=True)
class UpgradeStatus(Record):
    """The state of an upgrade on both servers."""

    name: str
    phase: UpgradePhase
    forward: tuple[SubscriptionStatus, ...]
    """The subscriptions of the new server, with lags."""
    back: tuple[SubscriptionStatus, ...]
    """The subscriptions of the old server, after a cutover."""
    old_is_fenced: bool
    new_is_fenced: bool
    old_disabled: tuple[TableName, ...] = ()
    """Tables of the old server whose trigger of the fence someone has disabled or, after a cutover,
    dropped: then the server does not count as fenced."""
    new_disabled: tuple[TableName, ...] = ()
    """Tables of the new server, likewise; a dropped trigger is found while it is prepared."""

    @property
    def lost_slots(self) -> tuple[str, ...]:
        """The slots without which replication cannot continue: dropped, or invalidated.

        First those of the old server, then those of the new one for the way back. After a cutover,
        a rollback creates those of the old server again.
        """
        return tuple(slot for _, slot, _ in self._lost)

    @property
    def _lost(self) -> list[tuple[str, str, str]]:
        """The servers and names of the lost slots, and what to do."""
        found = []
        for node, subscriptions in ((OLD, self.forward), (NEW, self.back)):
            for one in subscriptions:
                name, is_enabled = one.state.subslotname, one.state.subenabled
                # Without a way back, the old server needs no slots for the new one.
                is_needed = node == NEW or is_enabled or bool(self.back)
                if name is None or not is_needed:
                    continue
                if one.slot is None or one.slot.is_lost:
                    forward = _LOST_FORWARD if is_enabled else _LOST_UNUSED
                    found.append((node, name, _LOST_BACK if node == NEW else forward))
        return found

    def __str__(self) -> str:
        """Return the phase, the servers that accept writes, and a line for each subscription."""
        lines = wrapped(f"{self.name}: {self.phase}", then="    ")
        for node, name, remedy in self._lost:
            text = f"slot {name} of the {node} server is missing or lost: {remedy}"
            lines += wrapped(text, first="  ", then="    ")
        for node, is_fenced, disabled, subscriptions in (
            (OLD, self.old_is_fenced, self.old_disabled, self.back),
            (NEW, self.new_is_fenced, self.new_disabled, self.forward),
        ):
            state = "fenced" if is_fenced else "not fenced"
            if disabled:
                state += f": the trigger is missing or disabled on {', '.join(map(str, disabled))}"
            lines += wrapped(f"{node} server: {state}", first="  ", then="    ")
            for line in [line for one in subscriptions for line in str(one).splitlines()]:
                indent = " " * (4 + len(line) - len(line.lstrip()))
                lines += wrapped(line.lstrip(), first=indent, then=f"{indent}  ")
        return "\n".join(lines)


def phase_of(
    forward: Sequence[SubscriptionStatus],
    *,
    old_is_fenced: bool,
    new_is_fenced: bool,
    interrupted: str,
    are_wrong: bool = False,
    is_lifting: bool = False,
    is_published: bool = False,
    is_ending: bool = False,
) -> UpgradePhase:
    """Return the phase; ``interrupted`` is an operation of the journal that is not complete.

    ``are_wrong``: these are not the servers of the preparation, so that nothing is known.
    ``is_lifting``: a fence that permits writes is not removed, which is the last step of an
    operation. ``is_published``: publications of the upgrade exist. ``is_ending`` is from the
    function of that name.
    """
    if interrupted:
        is_preparing = interrupted.startswith((PREPARING, CLONING))
        return UpgradePhase.COPYING if is_preparing else UpgradePhase.SWITCHING
    if are_wrong:
        return UpgradePhase.NEW
    if not forward:
        # Without a fence, they only have the names of an upgrade's. Nothing but a cutover fences
        # the old server.
        if is_published and (old_is_fenced or new_is_fenced):
            is_over = old_is_fenced or is_ending
            return UpgradePhase.SWITCHING if is_over else UpgradePhase.COPYING
        return UpgradePhase.FINISHED if old_is_fenced else UpgradePhase.NEW
    if not all(status.is_synced for status in forward):
        return UpgradePhase.COPYING
    enabled = {status.state.subenabled for status in forward}
    # Anything between the two is a step of an interrupted operation.
    if is_lifting:
        return UpgradePhase.SWITCHING
    if enabled == {True} and new_is_fenced and not old_is_fenced:
        return UpgradePhase.PREPARED
    if enabled == {False} and old_is_fenced and not new_is_fenced:
        return UpgradePhase.CUT_OVER
    return UpgradePhase.SWITCHING


def is_ending(names: Names, publications: Collection[str], *, is_kept: bool) -> bool:
    """Return whether an end left these publications, without subscriptions of the new server.

    ``is_kept``: the schema of the new server was kept, which completes a preparation. An
    interrupted one has published the groups in order, and none of the way back.
    """
    is_first = names.forward(1) in publications
    return bool(publications) and (is_kept or not is_first or bool(names.back_in(publications)))
