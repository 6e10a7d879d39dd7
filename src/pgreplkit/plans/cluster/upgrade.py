"""A major upgrade by logical replication: the names of its objects, and its steps."""

from collections.abc import Iterable, Mapping, Sequence

import attrs

from pgreplkit.errors import InvalidSlotName
from pgreplkit.plans.cluster import upgradesteps as do
from pgreplkit.plans.cluster.journal import Journal, WriteStates
from pgreplkit.plans.cluster.steps import Step
from pgreplkit.plans.cluster.upgradegroups import TableGroup
from pgreplkit.values.slotname import checked_slot_name
from pgreplkit.values.tablename import TableName

OLD, NEW = "old", "new"
PREPARING = "preparation of"
_LONGEST = 40
"""Characters of a name: slots and schemas get suffixes, and may have 63."""


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
    expected = f"at most {_LONGEST} characters, since suffixes are added, not beginning with pg_"
    if name.startswith("pg_"):
        raise InvalidSlotName(name, "no schema of a fence may begin with pg_", expected)
    if len(name) > _LONGEST:
        raise InvalidSlotName(name, f"it has {len(name)} characters", expected)
    return name


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
