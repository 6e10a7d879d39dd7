"""The owners and privileges that a preparation has left out."""

from collections.abc import Collection, Iterable, Sequence

from pgreplkit._text import counted
from pgreplkit.catalog.cluster.upgradeprivileges import Privilege
from pgreplkit.plans.server.readiness import checked, names_of
from pgreplkit.values.finding import Finding, Severity
from pgreplkit.values.tablename import quoted

_SHOWN = 2
"""Missing privileges that a finding names: the remedy has all."""
_GRANTABLE = " WITH GRANT OPTION"


def missing_privileges(
    old: Iterable[Privilege], new: Sequence[Privilege], *, roles: Collection[str], database: str
) -> list[str]:
    """Return the statements that give the new server the owners and privileges of the old one.

    Only those for objects and roles that it has: others are findings of their own. ``database`` is
    the name of its database.
    """
    there = {one.statement: one.is_grantable for one in new}
    objects = {one.object for one in new}
    found = []
    for one in old:
        has_it = one.statement in there and there[one.statement] >= one.is_grantable
        if one.statement is None or one.is_initial or has_it:
            continue
        if (one.object is not None and one.object not in objects) or not {*one.roles} <= {*roles}:
            continue
        # The first braces are those of the database: roles follow.
        name = quoted(database)
        is_database = one.object == "DATABASE {}"
        statement = one.statement.replace("{}", name, 1) if is_database else one.statement
        found.append(statement + (_GRANTABLE if one.is_grantable else ""))
    return found


def left_out_roles(old: Iterable[Privilege], new: Iterable[Privilege], *, role: str) -> list[str]:
    """Return the roles whose objects and privileges a copy without owners leaves out.

    ``role`` is the one that copies: it owns the copies.
    """
    there = {one.statement for one in new}
    left_out = [
        one.roles or ("PUBLIC",)
        for one in old
        if one.statement is not None
        and one.statement not in there
        and not one.is_initial
        and not one.is_default
    ]
    return sorted({name for roles in left_out for name in roles if name != role})


def privileges_finding(missing: Sequence[str]) -> Finding:
    """Return the finding about owners and grants of the old server that the new one lacks."""
    first = "; ".join(missing[:_SHOWN])
    return checked(
        "privileges",
        ok=not missing,
        observed=f"{counted(len(missing), 'statement')} missing on the new server, such as {first}"
        if missing
        else "those of the old server",
        needed="those of the old server, unless others are meant: after the cutover, clients would"
        " get errors (SQLSTATE 42501)",
        remedy=f"on the new server: {'; '.join(missing)}",
        otherwise=Severity.WARNING,
    )


def left_out_finding(roles: Sequence[str]) -> Finding:
    """Return the finding about a preparation that copies neither owners nor privileges."""
    return checked(
        "privileges",
        ok=not roles,
        observed=f"owners=False leaves out owners and privileges of {names_of(roles)}"
        if roles
        else "those of the old server, or no others than the defaults",
        needed="those of the old server, unless others are meant: after the cutover, clients would"
        " get errors (SQLSTATE 42501)",
        remedy="prepare with owners=True; or after the preparation, execute on the new server the"
        " statements of the finding of this name in the check() of plan_cutover()",
        otherwise=Severity.WARNING,
    )
