"""The findings on the rights of the role of a mesh on a node."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs

from pgreplkit._text import quote_identifier
from pgreplkit.plans.logical.applyrights import ApplyRights, replication_found, rights_findings
from pgreplkit.plans.server.readiness import checked
from pgreplkit.values.finding import Finding, Severity
from pgreplkit.values.tablename import TableName


@attrs.frozen
class ForeignObject:
    """An object of a mesh that another role owns."""

    object: str
    """Its kind and name, as in ALTER."""
    owner: str


@attrs.frozen(kw_only=True)
class MemberRights:
    """The rights of a role on a member, of which a plan drops the streams or all objects."""

    major: int
    may_replicate: bool
    rights: ApplyRights
    foreign: tuple[ForeignObject, ...] = ()
    """Of the node that leaves."""
    without_trigger: tuple[TableName, ...] = ()
    """The tables of the node that leaves on which the role may not create triggers."""


def setup_of(role: str, node: str) -> str:
    """Return the remedy for a missing right."""
    return f"run what setup_sql({role!r}) prints for {node}"


def common_rights(
    role: ApplyRights, major: int, setup: str, *, may_replicate: bool
) -> Iterator[Finding]:
    """Yield the findings on what the role needs on each node, whatever the operation is."""
    yield replication_found("replication", role.role, setup, ok=may_replicate)
    yield from rights_findings(role, major, setup, uses_origin=True)


def owners_found(
    role: str, foreign: Sequence[ForeignObject], *, otherwise: Severity = Severity.CRITICAL
) -> Finding:
    """Return the finding on the objects that the role cannot drop."""
    own = quote_identifier(role)
    return checked(
        "owners",
        ok=not foreign,
        observed="; ".join(f"{one.owner} owns the {_shown(one.object)}" for one in foreign)
        or f"{role} owns the objects of the mesh",
        needed="ownership of the publication, and of what the mesh has in the schema pgreplkit: a"
        " node that leaves drops them",
        remedy="; ".join(f"ALTER {one.object} OWNER TO {own}" for one in foreign),
        otherwise=otherwise,
    )


def member_findings(node: str, member: MemberRights) -> Iterator[Finding]:
    """Yield the findings on the rights to drop the streams, or all objects, of a member."""
    role = member.rights.role
    setup = setup_of(role, node)
    found = [
        *common_rights(member.rights, member.major, setup, may_replicate=member.may_replicate),
        owners_found(role, member.foreign),
        checked(
            "triggers",
            ok=not member.without_trigger,
            observed=f"{role} lacks TRIGGER on {', '.join(map(str, member.without_trigger))}"
            if member.without_trigger
            else f"{role} may create them",
            needed="TRIGGER on the tables, to refuse writes while the node leaves",
            remedy=setup,
        ),
    ]
    yield from (attrs.evolve(one, check=f"{one.check} of {node}") for one in found)


def _shown(name: str) -> str:
    kind, _, rest = name.partition(" ")
    return f"{kind.lower()} {rest}"
