"""The phases in which an operation of an upgrade is possible, and the remedies in the others."""

from collections.abc import Mapping
from enum import Enum

from pgreplkit.plans.cluster.upgrade import NEW, OLD
from pgreplkit.plans.cluster.upgradestatus import UpgradePhase, UpgradeStatus
from pgreplkit.plans.server.readiness import checked
from pgreplkit.values.finding import Finding


class UpgradeOperation(Enum):
    """An operation that a user plans."""

    PREPARE = "preparation"
    CUTOVER = "cutover"
    ROLLBACK = "rollback"
    FINISH = "end"


_POSSIBLE = {
    UpgradeOperation.PREPARE: (UpgradePhase.NEW,),
    UpgradeOperation.CUTOVER: (UpgradePhase.PREPARED,),
    UpgradeOperation.ROLLBACK: (UpgradePhase.CUT_OVER,),
    # After the preparation, the upgrade is given up.
    UpgradeOperation.FINISH: (UpgradePhase.CUT_OVER, UpgradePhase.PREPARED),
}
# Nothing on these servers has the names of the upgrade.
_ELSEWHERE = (
    "if it is prepared, pass the servers, databases and the name of the preparation: old and new"
    " may be exchanged"
)
_COPYING = (
    "wait until all tables are copied; if the preparation was interrupted, plan_resume() returns"
    " it: resume() or undo() it"
)
# Without the function, resume() would not move the clients.
_SWITCHING = (
    "plan_resume(), with the redirect of the interrupted operation, returns it: resume() or"
    " undo() it"
)
_BACK_OR_END = (
    "roll back with plan_rollback(), or end it with plan_finish(): there is no way back afterwards"
)
_REMEDIES: Mapping[UpgradeOperation, Mapping[UpgradePhase, str]] = {
    UpgradeOperation.PREPARE: {
        UpgradePhase.COPYING: _COPYING,
        UpgradePhase.PREPARED: "cut over with plan_cutover(), or give it up with plan_finish() and"
        " begin again",
        UpgradePhase.SWITCHING: _SWITCHING,
        UpgradePhase.CUT_OVER: _BACK_OR_END,
        # Its rows are out of date, and it would accept writes again.
        UpgradePhase.FINISHED: "the upgrade has ended: for the next one, pass the server that"
        " accepts writes as old; to prepare again from this old server, whose rows are out of"
        " date, DROP SCHEMA {}_fence CASCADE there",
    },
    UpgradeOperation.CUTOVER: {
        UpgradePhase.NEW: f"prepare it first; {_ELSEWHERE}",
        UpgradePhase.COPYING: _COPYING,
        UpgradePhase.SWITCHING: _SWITCHING,
        UpgradePhase.CUT_OVER: f"it is done; {_BACK_OR_END}",
        UpgradePhase.FINISHED: "nothing is left to do: the new server accepts the writes",
    },
    UpgradeOperation.ROLLBACK: {
        UpgradePhase.NEW: f"there is nothing to roll back; {_ELSEWHERE}",
        UpgradePhase.COPYING: "there is nothing to roll back: the old server accepts the writes",
        UpgradePhase.PREPARED: "there is nothing to roll back: the old server accepts the writes;"
        " to give the upgrade up, call plan_finish()",
        UpgradePhase.SWITCHING: _SWITCHING,
        UpgradePhase.FINISHED: "none: the upgrade has ended, and only the new server has what was"
        " written since",
    },
    UpgradeOperation.FINISH: {
        UpgradePhase.NEW: f"there is nothing to end; {_ELSEWHERE}",
        UpgradePhase.COPYING: _COPYING,
        UpgradePhase.SWITCHING: _SWITCHING,
        UpgradePhase.FINISHED: "nothing is left to do",
    },
}
"""Every phase in which an operation is not possible has a remedy; {} is the upgrade's name."""

_PLANNED_BEFORE = {
    UpgradePhase.PREPARED: "call plan_finish() again if the upgrade is still to be given up: then"
    " the new server no longer follows",
    UpgradePhase.CUT_OVER: "call plan_finish() again if the upgrade is still to end: there is no"
    " way back afterwards",
}
"""Remedies for an end that was planned in another phase than the present one."""

_NOT_COMPARED = {
    UpgradePhase.NEW: "has published none; prepare it first",
    UpgradePhase.COPYING: "copies none yet; continue its preparation, and wait for its copies",
    UpgradePhase.PREPARED: "has published none on this old server; pass that of the preparation",
    UpgradePhase.SWITCHING: "replicates none at present: an operation was interrupted; complete it",
    UpgradePhase.CUT_OVER: "has cut over without a way back: the old server does not follow",
    UpgradePhase.FINISHED: "has ended: no server follows the other one",
}
"""Why no tables are replicated."""


def phase_finding(
    status: UpgradeStatus, operation: UpgradeOperation, *, planned: UpgradePhase | None = None
) -> Finding:
    """Return the finding about the phase in which an operation is possible.

    ``planned`` is the phase in which it was planned, if it ends what is there in this phase only.
    """
    possible, phase = _POSSIBLE[operation], status.phase
    observed, remedy = f"{status.name} is {phase}", ""
    if phase not in possible:
        remedy = _REMEDIES[operation][phase].replace("{}", status.name)
    elif planned not in (None, phase):
        # A cutover or a rollback since then would be ended although no one has asked for that.
        observed += f", and was {planned} when the {operation.value} was planned"
        remedy = _PLANNED_BEFORE[phase]
    return checked(
        "phase", ok=not remedy, observed=observed, needed=" or ".join(possible), remedy=remedy
    )


def compared_publisher(status: UpgradeStatus) -> str:
    """Return the server whose rows the other one must have: "old" or "new".

    It accepts writes. If none does, it is the one from which the other still receives rows.
    """
    # The old server follows only until the end of a rollback.
    old_is_fenced = status.old_is_fenced or bool(status.old_disabled)
    new_is_fenced = status.new_is_fenced or bool(status.new_disabled)
    is_new = old_is_fenced and (not new_is_fenced or bool(status.back))
    return NEW if is_new else OLD


def not_compared(status: UpgradeStatus) -> str:
    """Return why there are no tables to compare."""
    return f"the upgrade {status.name!r} {_NOT_COMPARED[status.phase]}"
