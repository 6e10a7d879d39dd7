"""The steps of a mesh."""

from __future__ import annotations

from meshfacts import members

from pgreplkit.plans.cluster.journal import Journal
from pgreplkit.plans.mesh.operations import create_steps, join_steps, leave_steps, remove_steps


def test_the_steps_of_a_mesh_are_read_back_from_a_journal() -> None:
    for steps in (
        create_steps("shop", members("a", "b"), "a", ["public.users"]),
        join_steps("shop", members("a", "b"), "c", "a", ["public.users"]),
        leave_steps("shop", members("a", "b", "c"), "b"),
        remove_steps("shop", members("a", "b", "c"), "b"),
    ):
        journal = Journal(operation="test", steps=steps)
        assert Journal.from_json(journal.to_json()) == journal
        assert str(journal)
