"""The servers that must refuse writes while an operation of an upgrade is not complete."""

from collections.abc import Sequence

from pgreplkit.plans.cluster import upgradesteps as do
from pgreplkit.plans.cluster.journal import Journal
from pgreplkit.values.tablename import TableName


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
    arms = [step for step in journal.steps if isinstance(step, do.ArmForward)]
    # Each publication has the name of its subscription.
    applied = waits[0].subscriptions if waits else ()
    if done > fenced:
        found[journal.steps[fenced].node] = applied
    # An attempt that was killed may have opened it already.
    if do.OpenTables in kinds and done < (opened := kinds.index(do.OpenTables)):
        # The old server has had no fence on tables that were added to the way back.
        found[journal.steps[opened].node] = arms[0].subscriptions if arms else applied
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
