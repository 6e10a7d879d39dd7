"""The steps of a mesh."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
from meshfacts import members

from pgreplkit.mesh import Mesh
from pgreplkit.plans.cluster.journal import Journal
from pgreplkit.plans.cluster.steps import Checkpoint
from pgreplkit.plans.mesh.operations import (
    create_steps,
    forget_steps,
    join_steps,
    leave_steps,
    remove_steps,
)
from pgreplkit.plans.mesh.steps import StopWrites


def test_the_steps_of_a_mesh_are_read_back_from_a_journal() -> None:
    for steps in (
        create_steps("shop", attrs.evolve(members("a", "b"), policy="x"), "a", ["public.users"]),
        join_steps("shop", members("a", "b"), "c", "a", ["public.users"]),
        leave_steps("shop", members("a", "b", "c"), "b"),
        remove_steps("shop", members("a", "b", "c"), "b"),
        forget_steps("shop", members("a", "b", "c"), "b", ["a", "c"]),
    ):
        journal = Journal(operation="test", steps=steps)
        assert Journal.from_json(journal.to_json()) == journal
        assert str(journal)
        looked_at = []
        for step in steps:
            found = {name: ("x",) for name in ("before", "existing") if hasattr(step, name)}
            looked_at.append(attrs.evolve(step, **found))  # type: ignore[arg-type]
        journal = Journal(operation="test", steps=tuple(looked_at))
        assert Journal.from_json(journal.to_json()) == journal
        assert tuple(step.unbegun() for step in journal.steps) == steps


def test_a_mesh_resumes_only_its_own_operations(tmp_path: Path) -> None:
    file = tmp_path / "journal"
    file.write_text(Journal(operation="leave of a", steps=(StopWrites("a", "shop"),)).to_json())
    nodes = {"a": "host=a.invalid", "b": "host=b.invalid"}
    assert Mesh(nodes, name="shop", tables=["t"]).plan_resume(file).remaining
    with pytest.raises(ValueError, match="it is of the mesh 'shop', not of 'mesh'"):
        Mesh(nodes, tables=["t"]).plan_resume(file)
    file.write_text(Journal(operation="switchover", steps=(Checkpoint("a"),)).to_json())
    with pytest.raises(ValueError, match=r"a cluster, not of a mesh; call plan_resume\(\)"):
        Mesh(nodes, name="shop", tables=["t"]).plan_resume(file)
