"""Two servers are those of one preparation, or something shows that they are not."""

from __future__ import annotations

import attrs
import pytest
from upgradeobjects import CASES, CUTOVER, NAMES, ONE_WAY, PREPARE, ROLLBACK, all_of, performed

from pgreplkit.plans.cluster.journal import Journal
from pgreplkit.plans.cluster.upgradepairing import NamedObjects, servers_finding, wrong_servers
from pgreplkit.plans.cluster.upgraderebuild import UpgradeObjects

NOTHING = NamedObjects()
OTHERS = NamedObjects(publications=["feed"], subscriptions=["feed_1"], slots=["standby"])


def sides(objects: UpgradeObjects) -> tuple[NamedObjects, NamedObjects]:
    """The objects of both servers."""
    return (
        NamedObjects(
            publications=[*objects.publications, "feed"],
            subscriptions=[*objects.back],
            # Each subscription has a slot of its own on the other server.
            slots=[*objects.forward],
            has_fence="old" in objects.fences,
        ),
        NamedObjects(
            publications=[*objects.back_publications],
            subscriptions=[*objects.forward],
            slots=[*objects.back_slots],
            has_fence="new" in objects.fences,
        ),
    )


@pytest.mark.parametrize(("begin", "journal"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_no_step_of_an_operation_looks_like_other_servers(
    begin: UpgradeObjects, journal: Journal
) -> None:
    for count in range(len(journal.steps) + 1):
        old, new = sides(performed(begin, journal, count))
        assert wrong_servers(NAMES, old=old, new=new) is None


MOVES = [
    (all_of(PREPARE), CUTOVER),
    (all_of(PREPARE), ONE_WAY),
    (all_of(PREPARE, CUTOVER), ROLLBACK),
]


@pytest.mark.parametrize(("begin", "journal"), MOVES)
@pytest.mark.parametrize("elsewhere", [NOTHING, OTHERS])
def test_other_and_exchanged_servers_are_found_as_long_as_something_is_replicated(
    begin: UpgradeObjects, journal: Journal, elsewhere: NamedObjects
) -> None:
    for count in range(len(journal.steps) + 1):
        old, new = sides(performed(begin, journal, count))
        for one, other, shown in (
            (elsewhere, new, "the old server has no publication shop_1, to which the new one"),
            (old, elsewhere, "the new server has no "),
            (new, old, "has the subscription shop_1, as the new one of the preparation has; pass"),
            (new, elsewhere, "pass this server as new"),
            (elsewhere, old, "pass this server as old"),
        ):
            wrong = wrong_servers(NAMES, old=one, new=other)
            assert wrong is not None
            assert shown in str(wrong)
            finding = servers_finding(wrong)
            assert (finding.found, finding.remedy) == (wrong.found, wrong.remedy)


def test_a_physical_copy_may_have_the_publications_of_the_old_server() -> None:
    old = NamedObjects(publications=["shop_1"], slots=["shop_1"])
    copy = attrs.evolve(old, slots=[])
    assert wrong_servers(NAMES, old=old, new=copy) is None


def test_a_server_of_another_upgrade_with_the_same_name_is_found() -> None:
    old, _ = sides(all_of(PREPARE, CUTOVER))
    _, other = sides(all_of(PREPARE))
    wrong = wrong_servers(NAMES, old=old, new=other)
    assert wrong is not None
    assert "the new server has no publication shop_1_back, to which the old one" in wrong.found
