# Generated from pgreplkit/_async/logical/applymerge.py by `nox -s sync`. Do not edit.
"""Merging a change with the local row, by a function."""

from __future__ import annotations

from collections.abc import Mapping

from pgreplkit._sync.logical.applytarget import ApplyTarget
from pgreplkit.apply.filtering import RuleFailed, loaded, raised, replaced, row_of
from pgreplkit.apply.policies import MergeWith
from pgreplkit.apply.tableplans import MergedPlan, Step, merged
from pgreplkit.plans.logical.applying import ConflictKind
from pgreplkit.protocol.pgoutput.rows import UNCHANGED, Row
from pgreplkit.protocol.pgoutput.tuples import TEXT, Octets, RawValues, TableReader
from pgreplkit.protocol.rawtransactions import RawChange

_INSERT = ord("I")
_APPLIED, _MERGED = "applied", "merged"


def merge_change(
    target: ApplyTarget, policy: MergeWith, plan: MergedPlan, change: RawChange[Row]
) -> tuple[ConflictKind, Step, str] | None:
    """Apply an INSERT or UPDATE; return the conflict that it met, a step and the resolution.

    Raises: RuleFailed; psycopg's errors.
    """
    kind, [reader], _, old, new = change
    if new is None:
        raise RuleFailed("the publisher sent no row")
    if old is not None:
        new = merged(old, new)
    # Where the key changed, the row is here under the old one.
    found = _local(target, plan, new if old is None else old)
    if found is None:
        steps = [plan.insert(*new)]
        met = None if kind == _INSERT else (ConflictKind.UPDATE_MISSING, steps[0], _APPLIED)
    # Only the publisher has changed the row, so that there is nothing to merge.
    elif old is not None and _is_same(plan, reader, found, old):
        steps, met = plan.replace(old, new), None
    else:
        steps = plan.replace(old, _values(policy, plan, reader, found, new))
        exists = kind == _INSERT
        conflict = ConflictKind.INSERT_EXISTS if exists else ConflictKind.UPDATE_ORIGIN_DIFFERS
        met = conflict, steps[0], _MERGED
    for step in steps:
        target.step(step)
    return met


def _local(target: ApplyTarget, plan: MergedPlan, row: RawValues) -> RawValues | None:
    """Lock the local row, and return its values."""
    statement, values, formats = plan.find(row)
    result = target.execute(statement.sql, values, formats)
    if not result.ntuples:
        return None
    texts: list[Octets] = [result.get_value(0, at) for at in range(result.nfields)]
    return texts, [TEXT] * len(texts)


def _is_same(plan: MergedPlan, reader: TableReader[Row], local: RawValues, old: RawValues) -> bool:
    """Return whether the local row is as the publisher's was before."""
    here, there = loaded(reader, local), loaded(reader, old)
    width = plan.match.width
    return all(
        here[one.position] == there[one.position]
        for one in plan.match.written
        if one.position < width
    )


def _values(
    policy: MergeWith,
    plan: MergedPlan,
    reader: TableReader[Row],
    local: RawValues,
    new: RawValues,
) -> RawValues:
    """Return the merged values, under the key that the change has."""
    own, remote = row_of(reader, local), row_of(reader, new)
    try:
        changed = policy.merge(own, remote)
    except Exception as error:
        raise RuleFailed(f"merge raised {raised(error)}") from None
    if isinstance(changed, Mapping):
        # The publisher did not send it, so that the local value is as good.
        changed = {name: value for name, value in changed.items() if value is not UNCHANGED}
    values, formats = replaced(plan, reader, local, own, changed, "merge")
    for one in plan.match.key:
        if one.position < plan.match.width:
            values[one.position] = new[0][one.position]
            formats[one.position] = new[1][one.position]
    return values, formats
