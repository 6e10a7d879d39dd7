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
        exists = one.object is None or one.object in objects or one.is_custom
        if not (exists and {*one.roles} <= {*roles}):
            continue
        # The first braces are those of the database: roles follow.
        name = quoted(database)
        is_database = one.object == "DATABASE {}"
        statement = one.statement.replace("{}", name, 1) if is_database else one.statement
        found.append(statement + (_GRANTABLE if one.is_grantable else ""))
    return found


def uncopied_privileges(
    old: Iterable[Privilege], new: Sequence[Privilege], *, roles: Collection[str], database: str
) -> list[str]:
    """Return those of ``missing_privileges`` that no copy of the schema brings along."""
    uncopied = [one for one in old if not one.is_copied]
    return missing_privileges(uncopied, new, roles=roles, database=database)


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
        and one.is_copied
        and not one.is_initial
        and not one.is_default
    ]
    return sorted({name for roles in left_out for name in roles if name != role})


def privileges_finding(missing: Sequence[str]) -> Finding:
    """Return the finding about owners and grants of the old server that the new one lacks."""
    return _finding(_missing(missing) if missing else "those of the old server", _remedy(missing))


def left_out_finding(roles: Sequence[str], uncopied: Sequence[str]) -> Finding:
    """Return the finding about privileges that a preparation does not copy.

    ``roles`` are those whose objects and privileges it leaves out, and ``uncopied`` the statements
    for missing privileges on the database, on settings and on tablespaces.
    """
    found, remedies = [], []
    if roles:
        found.append(f"owners=False leaves out owners and privileges of {names_of(roles)}")
        remedies.append(
            "prepare with owners=True; or after the preparation, execute on the new server the"
            " statements of the finding of this name in the check() of plan_cutover()"
        )
    if uncopied:
        found.append(f"{_missing(uncopied)}, which no copy of the schema brings along")
        remedies.append(_remedy(uncopied))
    observed = "; ".join(found) or "those of the old server, or no others than the defaults"
    return _finding(observed, "; ".join(remedies))


def _missing(statements: Sequence[str]) -> str:
    first = "; ".join(statements[:_SHOWN])
    return f"{counted(len(statements), 'statement')} missing on the new server, such as {first}"


def _remedy(statements: Sequence[str]) -> str:
    return f"on the new server: {'; '.join(statements)}" if statements else ""


def _finding(observed: str, remedy: str) -> Finding:
    return checked(
        "privileges",
        ok=not remedy,
        observed=observed,
        needed="those of the old server, unless others are meant: after the cutover, clients would"
        " get errors (SQLSTATE 42501)",
        remedy=remedy,
        otherwise=Severity.WARNING,
    )
