"""The objects of an upgrade after each step of its operations."""

from __future__ import annotations

import attrs
from upgradefacts import table

from pgreplkit.plans.cluster import upgradesteps as do
from pgreplkit.plans.cluster.journal import Journal
from pgreplkit.plans.cluster.steps import Step
from pgreplkit.plans.cluster.upgrade import (
    Names,
    cutover_journal,
    finish_journal,
    prepare_journal,
    rollback_journal,
)
from pgreplkit.plans.cluster.upgradegroups import TableGroup
from pgreplkit.plans.cluster.upgraderebuild import UpgradeObjects
from pgreplkit.plans.cluster.upgradestatus import UpgradePhase
from pgreplkit.values.tablename import TableName

NAMES = Names(upgrade="shop")
GROUPS = {"shop_1": ("public.a", "public.b"), "shop_2": ("public.c",)}
BACK = ["shop_1_back", "shop_2_back"]
TABLES = [table(name) for name in "abc"]
PREPARE = prepare_journal(
    NAMES,
    [TableGroup(tables=tuple(map(TableName.parse, group)), bytes=0) for group in GROUPS.values()],
    copies_schema=True,
)
CUTOVER = cutover_journal(NAMES, GROUPS, way_back=True)
ONE_WAY = cutover_journal(NAMES, GROUPS, way_back=False)
ROLLBACK = rollback_journal(NAMES, GROUPS)
FINISH = finish_journal(NAMES, [*GROUPS], back=BACK)
GIVE_UP = finish_journal(NAMES, [*GROUPS], back=[])
NOTHING = UpgradeObjects(
    phase=UpgradePhase.NEW,
    publications={},
    back_publications={},
    back_slots=(),
    forward={},
    back={},
    is_copied=False,
    is_filled=False,
    kept=(),
    fences={},
)


def after(objects: UpgradeObjects, step: Step) -> UpgradeObjects:
    """The objects when a step is done."""
    change: dict[str, object] = {}
    forward, back = {**objects.forward}, {**objects.back}
    match step:
        case do.FenceTables():
            change = {"fences": {**objects.fences, step.node: True}}
        case do.OpenTables():
            change = {"fences": {**objects.fences, step.node: False}}
        case do.RemoveFence():
            change = {"fences": {n: up for n, up in objects.fences.items() if n != step.node}}
        case do.PublishTables(node="old"):
            change = {"publications": {**objects.publications, step.publication: step.tables}}
        case do.PublishTables():
            there = {**objects.back_publications, step.publication: step.tables}
            change = {"back_publications": there}
        case do.KeepSchema():
            change = {"kept": [*objects.kept, step.node]}
        case do.Subscribe():
            change = {"forward": {**forward, step.publication: True}}
        case do.SubscribeAt():
            # Without a copy its tables are ready at once.
            change = {"forward": {**forward, step.publication: True}, "is_copied": True}
        case do.WaitCopied():
            change = {"is_copied": True}
        case do.StopSubscriptions() | do.StartSubscriptions():
            states = dict.fromkeys(step.subscriptions, isinstance(step, do.StartSubscriptions))
            change = {"forward" if step.node == "new" else "back": states}
        case do.MakeBackSlots():
            change = {"back_slots": step.slots}
        case do.SubscribeBack():
            change = {"back": {**back, step.publication: True}}
        case do.DropSubscriptions(node="old"):
            change = {"back": {}, "back_slots": ()}
        case do.DropSubscriptions():
            change = {"forward": {}, "is_copied": False}
        case do.DropPublications(node="old"):
            change = {"publications": {}, "kept": ()}
        case do.DropPublications():
            change = {"back_publications": {}}
    return attrs.evolve(objects, **change)  # type: ignore[arg-type]


def performed(objects: UpgradeObjects, journal: Journal, count: int) -> UpgradeObjects:
    for step in journal.steps[:count]:
        objects = after(objects, step)
    fences = (objects.fences.get("old", False), objects.fences.get("new", False))
    phase = UpgradePhase.SWITCHING
    if not objects.forward:
        phase = UpgradePhase.NEW
    elif not objects.is_copied:
        phase = UpgradePhase.COPYING
    elif False in objects.fences.values():
        phase = UpgradePhase.SWITCHING
    elif {*objects.forward.values()} == {True} and fences == (False, True):
        phase = UpgradePhase.PREPARED
    elif {*objects.forward.values()} == {False} and fences == (True, False):
        phase = UpgradePhase.CUT_OVER
    return attrs.evolve(objects, phase=phase)


def all_of(*journals: Journal) -> UpgradeObjects:
    objects = NOTHING
    for journal in journals:
        objects = performed(objects, journal, len(journal.steps))
    return objects


CASES = [
    ("prepare", NOTHING, PREPARE),
    ("cutover", all_of(PREPARE), CUTOVER),
    ("cutover one way", all_of(PREPARE), ONE_WAY),
    ("rollback", all_of(PREPARE, CUTOVER), ROLLBACK),
    ("second cutover", all_of(PREPARE, CUTOVER, ROLLBACK), CUTOVER),
    ("second cutover one way", all_of(PREPARE, CUTOVER, ROLLBACK), ONE_WAY),
    ("finish", all_of(PREPARE, CUTOVER), FINISH),
    ("give up", all_of(PREPARE), GIVE_UP),
    ("give up after a rollback", all_of(PREPARE, CUTOVER, ROLLBACK), GIVE_UP),
]
