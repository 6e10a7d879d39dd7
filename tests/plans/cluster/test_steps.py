"""Steps of operations: their descriptions on each major version, and their stored form."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from clusterfacts import every_step
from hypothesis import given

from pgreplkit.plans.cluster import steps
from pgreplkit.plans.cluster.steps import Step, step_from


@pytest.mark.parametrize(
    ("of", "moved", "demoted", "promoted"),
    [
        (11, "into recovery.conf; control.restart(", "into recovery.conf", "control.promote("),
        (12, "= 'three'; control.restart(", "write standby.signal", "SELECT pg_promote()"),
        (13, "= 'three'; SELECT pg_reload_conf()", "postgresql.auto.conf", "SELECT pg_promote()"),
    ],
)
def test_a_step_describes_what_its_major_version_needs(
    of: int, moved: str, demoted: str, promoted: str
) -> None:
    assert moved in steps.Follow("a", "b", "host=b", "three", "a", of).action
    assert demoted in steps.Demote("a", "b", "host=b", None, "a", of).action
    assert steps.Promote("b", of).action.startswith(promoted)


@given(every_step)
def test_a_step_can_be_rebuilt_from_its_stored_form(step: Step) -> None:
    assert step_from(step.to_dict()) == step
    assert step.description
    assert step.action
    assert str(step) == f"{step.node}: {step.description}"


@pytest.mark.parametrize(
    "content",
    [{}, {"kind": "Explode", "node": "a"}, {"kind": "Checkpoint"}, {"kind": "Checkpoint", "x": 1}],
)
def test_content_that_describes_no_step_is_refused(content: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="no step has this kind and these fields"):
        step_from(content)


def test_only_final_steps_have_a_caution_and_none_of_them_can_be_undone() -> None:
    for kind in Step.__subclasses__():
        assert not (kind.caution and not kind.is_final)
        assert not (kind.is_final and kind.undo)
    assert steps.Promote.caution


def test_steps_of_upgrades_and_meshes_are_read_without_their_modules() -> None:
    read = "import json, sys; from pgreplkit.plans.cluster.steps import step_from; "
    read += "print(*map(step_from, json.loads(sys.argv[1])), sep='; ')"
    stored = json.dumps(
        [
            {"kind": "DropSubscriptions", "node": "new", "subscriptions": ["shop"]},
            {"kind": "StopWrites", "node": "a", "mesh": "m"},
        ]
    )
    shown = subprocess.run([sys.executable, "-c", read, stored], capture_output=True, text=True)
    assert shown.stdout.startswith("new: "), shown.stderr
