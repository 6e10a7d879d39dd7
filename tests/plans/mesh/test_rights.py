"""The rights of the role of a mesh, and the owners of the mesh's objects on a node."""

from __future__ import annotations

import attrs
from logicalfacts import RIGHTS
from meshfacts import USERS, critical, found, members, node

from pgreplkit.plans.mesh.leaving import leave_findings
from pgreplkit.plans.mesh.rights import ForeignObject, MemberRights
from pgreplkit.values.finding import Severity


def test_a_node_leaves_if_the_role_may_drop_what_the_mesh_has_there() -> None:
    same = members("a", "b")
    rights = {
        "a": MemberRights(
            major=18,
            may_replicate=True,
            rights=RIGHTS,
            foreign=(
                ForeignObject("FUNCTION pgreplkit.bury_1()", "other"),
                ForeignObject("PUBLICATION pgreplkit_shop", "other"),
            ),
            without_trigger=(USERS,),
        ),
        "b": MemberRights(
            major=18, may_replicate=False, rights=attrs.evolve(RIGHTS, may_write=False)
        ),
    }
    refused = {
        one.check: one
        for one in leave_findings([], {"a": same, "b": members("b", "a")}, same, rights)
        if one.severity is Severity.CRITICAL
    }
    assert {*refused} == {
        *("members", "owners of a", "triggers of a"),
        *("replication of b", "schema pgreplkit of b"),
    }
    owners = refused["owners of a"]
    assert owners.found == (
        "other owns the function pgreplkit.bury_1(); other owns the publication pgreplkit_shop"
    )
    assert owners.remedy == (
        'ALTER FUNCTION pgreplkit.bury_1() OWNER TO "mover";'
        ' ALTER PUBLICATION pgreplkit_shop OWNER TO "mover"'
    )


def test_objects_of_another_role_are_a_warning_for_a_node_that_joins() -> None:
    foreign = (ForeignObject("PUBLICATION pgreplkit_shop", "other"),)
    nodes = node("a"), node("b", foreign=foreign)
    assert not critical(*nodes)
    assert found(*nodes)["owners of b"].severity is Severity.WARNING
    assert found(*nodes)["owners of a"].severity is Severity.OK
