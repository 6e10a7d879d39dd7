"""Findings on the rights of an applier's role."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs

from pgreplkit.catalog.features import has
from pgreplkit.catalog.logical.applytables import TargetTable
from pgreplkit.plans.server.readiness import checked
from pgreplkit.values.finding import Finding


@attrs.frozen(kw_only=True)
class ApplyRights:
    """The rights of the applier's role on the subscriber."""

    role: str
    is_superuser: bool
    is_standby: bool
    is_read_only: bool
    """Whether transactions of the role are read-only by default."""
    has_schema: bool
    may_create: bool
    may_write: bool
    """Whether the role may write what the schema contains; True without the schema."""
    session_role: str
    has_role_wrapper: bool
    has_origin_wrapper: bool
    may_use_origins: bool
    may_set_role: bool = False
    """From 15 on; before, the setting cannot be granted."""


def replication_found(check: str, role: str, setup: str, *, ok: bool) -> Finding:
    """Return the finding on whether a role may stream changes."""
    return checked(
        check,
        ok=ok,
        observed=f"{role} may {'' if ok else 'not '}replicate",
        needed="REPLICATION, to stream changes",
        remedy=setup,
    )


def rights_findings(
    rights: ApplyRights, major: int, setup: str, *, uses_origin: bool
) -> Iterator[Finding]:
    """Yield the findings on the rights that a role needs on other objects than tables; ``setup`` is
    the remedy."""
    yield checked(
        "read-write transactions",
        ok=not rights.is_standby and not rights.is_read_only,
        observed="the server is a standby"
        if rights.is_standby
        else f"default_transaction_read_only is {'on' if rights.is_read_only else 'off'}"
        f" for {rights.role}",
        needed="a primary, and default_transaction_read_only = off, to write the changes",
        remedy="choose a primary"
        if rights.is_standby
        else "reset that setting, or connect with options='-c default_transaction_read_only=off'",
    )
    yield _schema(rights, setup)
    # A role whose own settings choose replica needs no right to set it.
    may_set_role = (
        rights.is_superuser
        or rights.session_role == "replica"
        or rights.may_set_role
        or rights.has_role_wrapper
    )
    yield checked(
        "session_replication_role",
        ok=may_set_role,
        observed=f"{rights.role} may {'' if may_set_role else 'not '}set it",
        needed="the right to set it, so that triggers and foreign keys do not fire twice",
        remedy=setup,
    )
    if not uses_origin:
        return
    may_use = (
        rights.is_superuser
        # Before 14 the functions check for a superuser themselves, so that a grant is no use: a
        # wrapper with SECURITY DEFINER is needed.
        or (rights.may_use_origins and has("origin.grantable", major))
        or (rights.has_origin_wrapper and not has("origin.grantable", major))
    )
    yield checked(
        "replication origins",
        ok=may_use,
        observed=f"{rights.role} may {'' if may_use else 'not '}use them",
        needed="EXECUTE on the functions of origins (before 14, wrappers), or resume='table'",
        remedy=setup,
    )


def _schema(rights: ApplyRights, setup: str) -> Finding:
    may_use = rights.may_create and rights.may_write
    return checked(
        "schema pgreplkit",
        ok=may_use or rights.is_superuser,
        observed=("it exists, " if rights.has_schema else "it does not exist, ")
        + (
            "and the role may create in it"
            if may_use
            else "and the role may not create in it"
            if not rights.may_create
            else "and the role may not write all tables in it, which another role created"
        ),
        needed="a schema in which the role can create tables, and write those of other roles",
        remedy=setup,
    )


def privileges_missing(
    check: str, table: TargetTable, role: str, wanted: Sequence[str], setup: str
) -> Finding | None:
    """Return the finding on a missing right to write a table; None if the role may write it."""
    if table.is_out_of_reach:
        return checked(
            check,
            ok=False,
            observed=f"{role} lacks USAGE on the schema of {table.table}",
            needed="USAGE on the schema, without which no privilege on the table is of use",
            remedy=setup,
        )
    lacks = [privilege for privilege in table.lacks if privilege in wanted]
    if lacks:
        return checked(
            check,
            ok=False,
            observed=f"{role} lacks {', '.join(lacks)} on {table.table}",
            needed="the privileges to write the table, and to find its rows",
            remedy=setup,
        )
    # An UPDATE of a hidden row would find no row, which looks like a conflict.
    if table.hides_rows:
        return checked(
            check,
            ok=False,
            observed=f"row level security of {table.table} applies to {role}",
            needed="BYPASSRLS: changes of rows that are hidden would be lost",
            remedy=f"ALTER ROLE {role} BYPASSRLS",
        )
    return None
