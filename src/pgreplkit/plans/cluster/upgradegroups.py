"""The groups of tables of an upgrade: each is replicated by one subscription."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import attrs

from pgreplkit.catalog.cluster.upgrade import UserTable
from pgreplkit.values.record import Record
from pgreplkit.values.several import several
from pgreplkit.values.tablename import TableName


@attrs.frozen(kw_only=True)
class TableGroup(Record):
    """Tables that are replicated by one subscription."""

    tables: tuple[TableName, ...]
    bytes: int
    """Size of the tables on the old server, without indexes."""


def checked_count(count: int, name: str) -> int:
    """Return a number of groups.

    Raises:
        ValueError: If it is not positive.
    """
    if type(count) is not int or count < 1:
        raise ValueError(f"{name} must be an int >= 1, got {count!r}")
    return count


def groups_of(tables: Sequence[UserTable], count: int) -> tuple[TableGroup, ...]:
    """Distribute tables to groups of similar size; tables joined by foreign keys stay together.

    Raises:
        ValueError: If ``count`` is not positive.
    """
    checked_count(count, "count")
    known = {one.table: one for one in tables}
    leader = {one.table: one.table for one in tables}

    def top(table: TableName) -> TableName:
        while leader[table] != table:
            # Shortens the chain for the next search.
            leader[table] = leader[leader[table]]
            table = leader[table]
        return table

    # Each table points to another one of its part; the end of such a chain stands for the part.
    for one in tables:
        for other in one.joined:
            if other in known:
                leader[top(other)] = top(one.table)
    together: dict[TableName, list[UserTable]] = {}
    for one in tables:
        if one.is_copied:
            together.setdefault(top(one.table), []).append(one)
    parts = sorted(together.values(), key=lambda part: (-_size(part), part[0].table))
    bins: list[list[UserTable]] = [[] for _ in range(min(count, len(parts)))]
    # The largest first into the emptiest bin: at most 4/3 of the best distribution.
    for part in parts:
        min(bins, key=_size).extend(part)
    return tuple(
        TableGroup(tables=tuple(sorted(one.table for one in chosen)), bytes=_size(chosen))
        for chosen in bins
        if chosen
    )


def _size(tables: Iterable[UserTable]) -> int:
    return sum(one.bytes for one in tables)


_NOT_COPIED = {
    "p": "its partitions are copied",
    "f": "a foreign table",
    "m": "a materialized view",
    "r": "an unlogged table, or one of an extension",
}
"""Why a relation is not copied, by pg_class.relkind."""


def tables_of(groups: Sequence[TableGroup] | None) -> list[TableName]:
    """Return the tables of groups; ``chosen_groups`` refuses what is no group."""
    known = [group for group in groups or () if isinstance(group, TableGroup)]
    return [table for group in known for table in group.tables]


def chosen_groups(
    groups: Sequence[TableGroup] | None,
    tables: Sequence[UserTable],
    others: Mapping[TableName, str] = MappingProxyType({}),
) -> tuple[TableGroup, ...]:
    """Return the groups of a preparation: ``groups`` if given, by default one.

    ``others`` are the kinds of relations that are no tables.

    Without tables it is one without any: the checks refuse such a plan.

    Raises:
        ValueError: If the groups are not a partition of the tables that are copied.
    """
    if groups is not None:
        chosen = several(groups, "groups")
        _insist_on_groups(chosen, tables, others)
    else:
        chosen = groups_of(tables, 1)
    return chosen or (TableGroup(tables=(), bytes=0),)


def _insist_on_groups(
    groups: Sequence[TableGroup], tables: Sequence[UserTable], others: Mapping[TableName, str]
) -> None:
    for number, group in enumerate(groups, 1):
        if not isinstance(group, TableGroup):
            raise TypeError(f"groups must be those of groups(), not {type(group).__name__}")
        # Its publication would have no tables.
        if not group.tables:
            raise ValueError(f"could not use the groups: group {number} has no tables")
    listed = Counter(table for group in groups for table in group.tables)
    wanted = {one.table for one in tables if one.is_copied}
    kinds = {table: f"a {kind}" for table, kind in others.items()}
    kinds |= {one.table: _NOT_COPIED[one.kind] for one in tables}
    wrong = {
        "in two groups": [table for table, times in listed.items() if times > 1],
        "in no group": [*wanted.difference(listed)],
        "not to be copied": [*listed.keys() - wanted],
    }
    found = []
    for what, names in wrong.items():
        shown = [
            f"{name} ({kinds.get(name, 'not a permanent table')})"
            if name not in wanted
            else str(name)
            for name in sorted(names)
        ]
        found += [f"{what}: {', '.join(shown)}"] if names else []
    if found:
        raise ValueError(f"could not use the groups: {'; '.join(found)}")
