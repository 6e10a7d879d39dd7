"""The phase of an upgrade, and the text of its status."""

from __future__ import annotations

import attrs
import pytest
from logicalfacts import slot_state, subscribed
from upgradefacts import CUT_OVER, STATUS, following

from pgreplkit.plans.cluster.upgrade import Names
from pgreplkit.plans.cluster.upgradestatus import (
    UpgradePhase,
    UpgradeStatus,
    is_ending,
    phase_of,
)
from pgreplkit.plans.logical.subscription import SubscriptionStatus
from pgreplkit.rows import TableState
from pgreplkit.values.tablename import TableName


@pytest.mark.parametrize(
    ("forward", "old", "new", "phase"),
    [
        ([], False, True, UpgradePhase.NEW),
        ([], True, False, UpgradePhase.FINISHED),
        ([following(copied=False)], False, True, UpgradePhase.COPYING),
        ([following(), following(copied=False)], False, True, UpgradePhase.COPYING),
        ([following()], False, True, UpgradePhase.PREPARED),
        ([following()], True, True, UpgradePhase.SWITCHING),
        ([following()], False, False, UpgradePhase.SWITCHING),
        ([following(), following(enabled=False)], False, True, UpgradePhase.SWITCHING),
        ([following(enabled=False)], True, True, UpgradePhase.SWITCHING),
        ([following(enabled=False)], True, False, UpgradePhase.CUT_OVER),
        ([following(enabled=False)], False, False, UpgradePhase.SWITCHING),
    ],
)
def test_the_phase_follows_from_the_subscriptions_and_the_fences(
    forward: list[SubscriptionStatus], old: bool, new: bool, phase: UpgradePhase
) -> None:
    assert phase_of(forward, old_is_fenced=old, new_is_fenced=new, interrupted="") is phase


@pytest.mark.parametrize(
    ("old", "new", "is_ending", "phase"),
    [
        # The names of others' publications.
        (False, False, False, UpgradePhase.NEW),
        (False, False, True, UpgradePhase.NEW),
        (False, True, False, UpgradePhase.COPYING),
        (False, True, True, UpgradePhase.SWITCHING),
        (True, False, False, UpgradePhase.SWITCHING),
        (True, False, True, UpgradePhase.SWITCHING),
    ],
)
def test_publications_without_subscriptions_are_those_of_an_interrupted_operation(
    old: bool, new: bool, is_ending: bool, phase: UpgradePhase
) -> None:
    found = phase_of(
        [],
        old_is_fenced=old,
        new_is_fenced=new,
        interrupted="",
        is_published=True,
        is_ending=is_ending,
    )
    assert found is phase


@pytest.mark.parametrize(
    ("publications", "is_kept", "wanted"),
    [
        ([], True, False),
        (["shop_1", "shop_2"], False, False),
        (["shop_1", "shop_2"], True, True),
        (["shop_2"], False, True),
        (["shop_1", "shop_1_back"], False, True),
        (["shop_1_back"], False, True),
    ],
    ids=str,
)
def test_publications_that_an_end_has_left_are_distinguished_from_those_of_a_preparation(
    publications: list[str], is_kept: bool, wanted: bool
) -> None:
    assert is_ending(Names(upgrade="shop"), publications, is_kept=is_kept) is wanted


def test_a_fence_that_is_not_removed_is_left_by_an_interrupted_operation() -> None:
    for enabled, old, new in ((True, False, True), (False, True, False)):
        found = phase_of(
            [following(enabled=enabled)],
            old_is_fenced=old,
            new_is_fenced=new,
            interrupted="",
            is_lifting=True,
        )
        assert found is UpgradePhase.SWITCHING


def test_other_servers_than_those_of_the_preparation_look_new() -> None:
    for forward in ([], [following(enabled=False)]):
        found = phase_of(
            forward, old_is_fenced=True, new_is_fenced=False, interrupted="", are_wrong=True
        )
        assert found is UpgradePhase.NEW


@pytest.mark.parametrize(
    ("operation", "phase"),
    [
        ("preparation of shop", UpgradePhase.COPYING),
        ("preparation by clone of shop", UpgradePhase.COPYING),
        ("cutover of shop", UpgradePhase.SWITCHING),
        ("rollback of shop", UpgradePhase.SWITCHING),
        ("end of shop", UpgradePhase.SWITCHING),
    ],
)
def test_an_interrupted_operation_is_the_phase(operation: str, phase: UpgradePhase) -> None:
    found = phase_of([following()], old_is_fenced=False, new_is_fenced=True, interrupted=operation)
    assert found is phase


def test_the_text_of_a_status_has_a_line_for_each_subscription() -> None:
    copying = [
        subscribed(table=TableName("public", f"t{n}"), state=state, bytes_processed=size)
        for n, (state, size) in enumerate(
            [(TableState.DATA_COPY, 3 << 30), *[(TableState.INIT, None)] * 6]
        )
    ]
    first = attrs.evolve(following(), tables=(subscribed(), *copying), slot=slot_state())
    second = attrs.evolve(following(), slot=slot_state(confirmed_flush_lsn=None))
    status = attrs.evolve(STATUS, phase=UpgradePhase.COPYING, forward=(first, second))
    assert str(status).splitlines() == [
        "shop: copying",
        "  old server: not fenced",
        "  new server: fenced",
        "    sub: enabled, not applying, 1 of 8 tables ready, lag 128 B",
        "      public.t0: being copied, 3.0 GiB",
        *[f"      public.t{n}: not started" for n in range(1, 5)],
        "      … and 2 more tables",
        "    sub: enabled, not applying, 1 of 1 table ready",
    ]


def test_the_text_of_a_status_names_the_tables_whose_fence_is_disabled() -> None:
    disabled = (TableName("public", "a"), TableName("public", "b"))
    status = attrs.evolve(STATUS, new_is_fenced=False, new_disabled=disabled)
    assert str(status).splitlines()[2] == (
        "  new server: not fenced: the trigger is missing or disabled on public.a, public.b"
    )


def test_the_text_of_a_status_names_lost_slots_with_what_to_do() -> None:
    named = attrs.evolve(following().state, subslotname="shop_1_back")
    back = attrs.evolve(following(), state=named)
    prepared = attrs.evolve(STATUS, forward=(following(),))
    assert prepared.lost_slots == ("s",)
    assert "slot s of the old server is missing or lost: changes are lost;" in text_of(prepared)
    moved = attrs.evolve(CUT_OVER, back=(back,))
    assert moved.lost_slots == ("s", "shop_1_back")
    assert "slot s of the old server is missing or lost: a rollback creates it" in text_of(moved)
    assert "slot shop_1_back of the new server is missing or lost: there is" in text_of(moved)
    # Without a way back, nothing continues from that of a disabled subscription.
    assert attrs.evolve(CUT_OVER, back=()).lost_slots == ()


def text_of(status: UpgradeStatus) -> str:
    return " ".join(str(status).split())


def test_the_direction_of_a_lost_slot_does_not_go_by_its_name() -> None:
    forward, back = [
        attrs.evolve(following(), state=attrs.evolve(following().state, subslotname=name))
        for name in ("one_back", "two")
    ]
    status = attrs.evolve(STATUS, forward=(forward,), back=(back,))
    assert status.lost_slots == ("one_back", "two")
    text = text_of(status)
    assert "slot one_back of the old server" in text
    assert "slot two of the new server" in text
