"""The fences of an upgrade: which ones must be up, and what shows that a journal is stale."""

from collections.abc import Mapping, Sequence

from pgreplkit.catalog.logical.fence import FenceFunction
from pgreplkit.plans.cluster import upgradesteps as do
from pgreplkit.plans.cluster.journal import Journal
from pgreplkit.plans.cluster.steps import Step
from pgreplkit.plans.cluster.upgrade import NEW, OLD
from pgreplkit.plans.cluster.upgradeschema import KeptSchema
from pgreplkit.values.tablename import TableName


def stale_reason(
    journal: Journal, found: Mapping[str, FenceFunction | None], *, undoes: bool
) -> str:
    """Return what shows that another process has continued an operation; empty if nothing does.

    Such a process may have another journal, or none, and may have ended the upgrade and prepared
    it again: each preparation, cutover and rollback gives a fence a new identity. ``found`` has
    the fence of each server, and None for one that does not answer: that accepts no writes now.
    """
    kinds = [type(step) for step in journal.steps]
    done = len(journal.done)
    if do.OpenTables in kinds:
        fenced, opened = kinds.index(do.FenceTables), kinds.index(do.OpenTables)
        source, target = journal.steps[fenced].node, journal.steps[opened].node
        if done > fenced and _is_open(found[source]):
            return f"the {source} server accepts writes"
        # A step that is next may be done already. One that is done is known to the journal, and
        # keeps it from being undone.
        if done < opened + undoes and _is_open(found[target]):
            return f"the {target} server accepts writes"
    for node, before in zip((OLD, NEW), journal.fences, strict=False):
        function = found[node]
        if function is None or not function.refuses:
            continue
        # What has been opened must stay open, and what is to be opened may not have all rows yet.
        if function.identity not in _identities(journal, node, before):
            return f"the fence of the {node} server is of another run"
    return ""


def stale_publication(journal: Journal, found: Mapping[str, KeptSchema | None]) -> str:
    """Return what shows that the old server is prepared by another clone; empty if nothing does.

    ``found`` has the comments of the publications, and None for one that does not exist. They
    are the first objects of a preparation by clone, and the last ones that its undo drops.
    """
    for number, step in enumerate(journal.begun):
        if not isinstance(step, do.PublishTables):
            continue
        name, kept = step.publication, found[step.publication]
        if kept is None:
            if number < len(journal.done):
                return f"the old server no longer has the publication {name}"
        elif not step.identity or kept.identity != step.identity:
            return f"the publication {name} of the old server is of another run"
    return ""


def accepting(found: Mapping[str, FenceFunction | None]) -> str:
    """Return which servers accept writes now, by their fences."""
    nodes = [f"the {node} server" for node, function in found.items() if _is_open(function)]
    if not nodes:
        return "no server that answers accepts writes now"
    return f"now {' and '.join(nodes)} accept{'s' if len(nodes) == 1 else ''} writes"


def _is_open(function: FenceFunction | None) -> bool:
    return function is not None and not function.refuses


def _identities(journal: Journal, node: str, before: str) -> set[str]:
    """Return the identities that the fence of a server may have; ``before`` is the first one."""
    for number, step in enumerate(journal.steps):
        if isinstance(step, do.FenceTables) and step.node == node and step.identity:
            # One that is begun may have changed nothing yet.
            return {step.identity} if number < len(journal.done) else {step.identity, before}
    return {before}


def lasting_steps(journal: Journal) -> list[Step]:
    """Return the finished steps whose effect must last until the other server accepts writes."""
    kinds = [type(step) for step in journal.steps]
    done = len(journal.done)
    if do.OpenTables not in kinds or done > kinds.index(do.OpenTables):
        return []
    lasting = (do.StopSubscriptions, do.MakeBackSlots)
    return [step for step in journal.steps[:done] if isinstance(step, lasting)]


def completing(node: str, tables: Sequence[TableName], fence: str) -> str:
    """Return the call that completes a fence: a trigger may be missing, or disabled."""
    return f"{node}.fence_writes({[str(table) for table in tables]}, name={fence!r})"


def must_be_fenced(journal: Journal) -> dict[str, tuple[str, ...]]:
    """Return the servers that refuse writes between the steps that are done and those that are not.

    Each has the publications, or subscriptions, of which all tables are fenced.
    """
    kinds = [type(step) for step in journal.steps]
    if do.FenceTables not in kinds:
        return {}
    fenced, done = kinds.index(do.FenceTables), len(journal.done)
    found: dict[str, tuple[str, ...]] = {}
    waits = [step for step in journal.steps if isinstance(step, do.WaitApplied)]
    if done > fenced:
        # Each publication has the name of its subscription.
        found[journal.steps[fenced].node] = waits[0].subscriptions if waits else ()
    # An attempt that was killed may have opened it already.
    if do.OpenTables in kinds and done < kinds.index(do.OpenTables):
        found[waits[0].node] = waits[0].fenced
    return found


def unfenced_remedy(journal: Journal, node: str, tables: Sequence[TableName], fence: str) -> str:
    """Return the remedy if tables of a server that must be fenced accept writes."""
    kinds = [type(step) for step in journal.steps]
    is_source = journal.steps[kinds.index(do.FenceTables)].node == node
    can_undo = do.OpenTables in kinds and len(journal.done) < kinds.index(do.OpenTables)
    if is_source and can_undo:
        # What was written since would be on this server only.
        return "undo() the plan, and plan it again"
    return f"{completing(node, tables, fence)}; compare the rows of these tables, and resume()"
