"""A major upgrade by logical replication: its phase, its groups of tables, and its steps."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType

import attrs

from pgreplkit.catalog.cluster.upgrade import UserTable
from pgreplkit.errors import InvalidSlotName
from pgreplkit.plans.cluster import upgradesteps as do
from pgreplkit.plans.cluster.journal import CLONING, Journal, WriteStates
from pgreplkit.plans.cluster.steps import Step
from pgreplkit.plans.logical.subscription import SubscriptionStatus
from pgreplkit.values.openenum import OpenEnum
from pgreplkit.values.record import Record
from pgreplkit.values.several import several
from pgreplkit.values.slotname import checked_slot_name
from pgreplkit.values.tablename import TableName
from pgreplkit.values.text import wrapped

OLD, NEW = "old", "new"
PREPARING = "preparation of"
_LONGEST = 40
"""Characters of a name: slots and schemas get suffixes, and may have 63."""


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


@attrs.frozen(kw_only=True)
class TableGroup(Record):
    """Tables that are replicated by one subscription."""

    tables: tuple[TableName, ...]
    bytes: int
    """Size of the tables on the old server, without indexes."""


_LOST_FORWARD = "changes are lost; give the upgrade up with plan_finish(), and prepare it again"
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

        First those of the old server, then those of the new one for the way back.
        """
        return tuple(slot for slots in self._lost.values() for slot in slots)

    @property
    def _lost(self) -> dict[str, list[str]]:
        """The lost slots of each server."""
        # After a cutover the old server needs no slots for the new one.
        forward = [one for one in self.forward if one.state.subenabled]
        return {
            node: [
                one.state.subslotname
                for one in subscriptions
                if one.state.subslotname is not None and (one.slot is None or one.slot.is_lost)
            ]
            for node, subscriptions in ((OLD, forward), (NEW, self.back))
        }

    def __str__(self) -> str:
        """Return the phase, the servers that accept writes, and a line for each subscription."""
        lines = wrapped(f"{self.name}: {self.phase}", then="    ")
        for node, remedy in ((OLD, _LOST_FORWARD), (NEW, _LOST_BACK)):
            for name in self._lost[node]:
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


@attrs.frozen(kw_only=True)
class Names:
    """The names of an upgrade's objects, by which another process finds them."""

    upgrade: str

    @property
    def fence(self) -> str:
        """The write fence, on either server."""
        return f"{self.upgrade}_fence"

    @property
    def copy(self) -> str:
        """The slot that retains the WAL for a copy of the old server."""
        return f"{self.upgrade}_copy"

    def forward(self, number: int) -> str:
        """Return the publication, slot and subscription of a group, counted from 1."""
        return f"{self.upgrade}_{number}"

    def back(self, forward: str) -> str:
        """Return the publication, slot and subscription of the way back."""
        return f"{forward}_back"

    def forward_in(self, names: Iterable[str]) -> list[str]:
        """Return the forward names among others."""
        there = {*names}
        suffixes = (name.removeprefix(f"{self.upgrade}_") for name in there)
        numbers = {int(suffix) for suffix in suffixes if suffix.isdecimal()}
        # Objects of others may be called "1", or have zeros and digits that int() reads too.
        return [name for name in map(self.forward, sorted(numbers)) if name in there]

    def own_in(self, names: Iterable[str]) -> list[str]:
        """Return all names of the upgrade among others."""
        there = [*names]
        copy = [name for name in there if name == self.copy]
        return [*self.forward_in(there), *self.back_in(there), *copy]

    def is_own(self, kind: str, name: str) -> bool:
        """Return whether the upgrade creates a publication, subscription or schema of this name."""
        return name == self.fence if kind == "schema" else bool(self.own_in([name]))

    def back_in(self, names: Iterable[str]) -> list[str]:
        """Return the names of the way back among others."""
        there = [name.removesuffix("_back") for name in names if name.endswith("_back")]
        return [self.back(name) for name in self.forward_in(there)]


def checked_upgrade_name(name: str) -> str:
    """Return the name of an upgrade.

    Raises:
        InvalidSlotName: If it is not a valid slot name, longer than 40 characters, or begins with
            ``pg_``.
    """
    checked_slot_name(name)
    if name.startswith("pg_"):
        raise InvalidSlotName(name, "it begins with pg_, which no schema of a fence may")
    if len(name) > _LONGEST:
        raise InvalidSlotName(name, f"it is longer than {_LONGEST} characters; suffixes are added")
    return name


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


def prepare_journal(names: Names, groups: Sequence[TableGroup], *, copies_schema: bool) -> Journal:
    """Return the steps that make the new server follow the old one."""
    forward = [names.forward(number) for number in range(1, len(groups) + 1)]
    schema: list[Step] = [do.CopyTables(NEW)] if copies_schema else []
    # Applying would hold locks that the building of indexes waits for, and the other way round.
    indexes: list[Step] = [
        do.StopSubscriptions(NEW, forward),
        do.CopyIndexes(NEW),
        do.StartSubscriptions(NEW, forward),
    ]
    tables = tuple(str(table) for group in groups for table in group.tables)
    hint = f"The upgrade {names.upgrade} fills this server; connect to the old one."
    steps: list[Step] = [
        *schema,
        # Before the rows: a row that someone writes here would collide with a copied one.
        do.FenceTables(NEW, names.fence, tables, hint),
        *(
            do.PublishTables(OLD, name, [str(table) for table in group.tables])
            for name, group in zip(forward, groups, strict=True)
        ),
        do.KeepSchema(OLD, names.forward(1)),
        *(do.Subscribe(NEW, name) for name in forward),
        do.WaitCopied(NEW, forward),
        *(indexes if copies_schema else ()),
        do.Analyze(NEW),
        do.KeepSchema(NEW, names.forward(1)),
    ]
    return Journal(operation=f"{PREPARING} {names.upgrade}", steps=tuple(steps))


def cutover_journal(
    names: Names,
    groups: Mapping[str, Sequence[str]],
    *,
    way_back: bool,
    left_out: Iterable[TableName] = (),
) -> Journal:
    """Return the steps that move writes to the new server; ``groups`` are the publications.

    ``left_out`` are the tables of the old server that no publication has.
    """
    forward = [*groups]
    back = [names.back(name) for name in forward]
    fenced = tuple(table for group in groups.values() for table in group)
    hint = f"The upgrade {names.upgrade} has moved; connect to the new server."
    publish = [
        do.PublishTables(NEW, name, groups[other])
        for name, other in zip(back, forward, strict=True)
    ]
    steps: list[Step] = [
        # The slow steps come before the fence.
        *(publish if way_back else ()),
        do.FenceTables(OLD, names.fence, fenced, hint),
        do.WaitApplied(NEW, forward, map(str, left_out), forward),
        do.SetSequences(NEW, OLD),
        # From here on nothing comes from the old server, so that no change can come back to it.
        do.StopSubscriptions(NEW, forward),
        *([do.MakeBackSlots(NEW, back)] if way_back else ()),
        do.OpenTables(NEW, names.fence),
        do.Redirect(NEW),
        *((do.SubscribeBack(OLD, name) for name in back) if way_back else ()),
        # It waits for transactions that read, so that it comes when the clients write already.
        do.RemoveFence(NEW, names.fence),
    ]
    return _switching(f"cutover of {names.upgrade}", steps, OLD, NEW)


def rollback_journal(
    names: Names,
    groups: Mapping[str, Sequence[str]],
    returned: Iterable[str] = (),
    *,
    left_out: Iterable[TableName] = (),
) -> Journal:
    """Return the steps that move writes back to the old server, with all that was written.

    ``returned`` are the tables of the way back: some may have been added after the cutover.
    ``left_out`` are the tables of the new server that are not replicated back.
    """
    forward = [*groups]
    back = [names.back(name) for name in forward]
    before = [table for group in groups.values() for table in group]
    tables = tuple(dict.fromkeys([*before, *returned]))
    hint = f"The upgrade {names.upgrade} was rolled back; connect to the old server."
    steps: list[Step] = [
        do.FenceTables(NEW, names.fence, tables, hint),
        do.WaitApplied(OLD, back, map(str, left_out), forward),
        do.SetSequences(OLD, NEW),
        do.StopSubscriptions(OLD, back),
        # Both servers have the same rows now, and the old one gets no more from the new one.
        do.ArmForward(NEW, forward),
        do.OpenTables(OLD, names.fence),
        do.Redirect(OLD),
        # The slots retain the changes that are written until then.
        do.StartSubscriptions(NEW, forward),
        do.DropSubscriptions(OLD, back),
        # Left there, they would look like those of the next cutover, which may have no way back.
        do.DropPublications(NEW, back),
        do.RemoveFence(OLD, names.fence),
    ]
    return _switching(f"rollback of {names.upgrade}", steps, NEW, OLD)


def forward_of(groups: Iterable[str], returned: Iterable[str]) -> list[str]:
    """Return the forward names of publications, where those of either direction may be left."""
    return [*dict.fromkeys([*groups, *(name.removesuffix("_back") for name in returned)])]


def finish_journal(names: Names, groups: Sequence[str], *, back: Sequence[str]) -> Journal:
    """Return the steps that remove the replication; the fence of the other server stays."""
    steps: list[Step] = [
        # First, because it marks an end that was interrupted: the way back may not exist.
        do.DropSubscriptions(NEW, groups),
        *([do.DropSubscriptions(OLD, back)] if back else ()),
        do.DropPublications(OLD, groups),
        do.DropPublications(NEW, [names.back(name) for name in groups]),
    ]
    return Journal(operation=f"end of {names.upgrade}", steps=tuple(steps))


def _switching(operation: str, steps: Sequence[Step], source: str, target: str) -> Journal:
    """Return a journal that says after each step which server accepts writes."""
    kinds = [type(step) for step in steps]
    fenced, opened = kinds.index(do.FenceTables), kinds.index(do.OpenTables)
    moved = kinds.index(do.Redirect)
    # The step at which an operation stops may be done in part.
    states = [
        *[f"the {source} server accepts writes"] * fenced,
        f"the {source} server accepts writes, except to tables that are fenced already",
        *["no server accepts writes: both are fenced"] * (opened - fenced - 1),
        f"no server accepts writes, or the {target} one already",
        *[f"the {target} server accepts writes"] * (len(steps) - opened),
    ]
    writes = WriteStates(states=tuple(states), outage=(fenced, moved))
    return Journal(operation=operation, steps=tuple(steps), writes=writes)
