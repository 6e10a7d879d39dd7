"""Findings on whether an applier can run: rights, settings and tables of both servers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import attrs

from pgreplkit._text import counted
from pgreplkit.catalog.features import has
from pgreplkit.catalog.logical.applytables import TargetTable
from pgreplkit.catalog.logical.publication import Operation
from pgreplkit.catalog.logical.replicaidentity import IdentityKind, ReplicaIdentity
from pgreplkit.plans.logical.applyleaves import UnfoundRows, unfound_found
from pgreplkit.plans.logical.applyloops import Loop, loop_finding
from pgreplkit.plans.logical.applyrights import (
    ApplyRights,
    privileges_missing,
    replication_found,
    rights_findings,
)
from pgreplkit.plans.logical.applytables import (
    ambiguous_found,
    large_values_found,
    misfits_found,
    rules_found,
    unlogged_found,
    unsent_found,
    versions_found,
)
from pgreplkit.plans.server.readiness import (
    Readiness,
    Settings,
    checked,
    free_places,
    setting_found,
    value_of,
)
from pgreplkit.values.finding import Finding, Severity
from pgreplkit.values.tablename import TableName

_NEEDED = ("SELECT", "INSERT", "UPDATE", "DELETE")


@attrs.frozen(kw_only=True)
class ApplyFacts:
    """The facts that the checks of an applier look at."""

    major: int
    """The subscriber's major version."""
    uses_origin: bool
    rights: ApplyRights
    settings: Settings
    """The subscriber's settings."""
    origins: int
    has_origin: bool
    publisher: Settings
    may_replicate: bool
    """Whether the publisher's role may stream changes."""
    publisher_role: str
    slots: int
    has_slot: bool
    copies_slots: bool
    """Whether the publisher can copy a slot."""
    is_same_database: bool
    tables: Mapping[TableName, TableName]
    """The subscriber's table for each published one."""
    identities: Sequence[ReplicaIdentity]
    not_full: Mapping[TableName, Sequence[str]]
    """By published table: it and its partitions, as SQL, without REPLICA IDENTITY FULL."""
    unsent: Mapping[TableName, Sequence[str]]
    """By published table: the columns of its replica identity that are not published."""
    operations: Mapping[TableName, Collection[Operation]]
    """The kinds of changes that the publications send of each table."""
    unreadable: Collection[TableName]
    """The published tables whose rows are to be copied, and that the role cannot read."""
    sends_truncate: bool
    """Whether the publisher can send TRUNCATE."""
    targets: Mapping[TableName, TargetTable | None]
    mismatches: Mapping[TableName, str]
    """By published table: why its rows cannot be written."""
    misfits: Mapping[TableName, Sequence[str]]
    """By published table: the columns that do not take every value of the publisher's."""
    setup: str
    """The call that prints the statements that an administrator runs."""
    truncates: bool
    ambiguous: Mapping[TableName, Sequence[str]] = attrs.field(factory=dict)
    """By published table: the columns by which rows are found, if several rows may have the same
    values in them; none if rows are found by all of their values."""
    unfound: Mapping[TableName, UnfoundRows] = attrs.field(factory=dict)
    """By published table: its partitions of which UPDATE or DELETE would be lost."""
    loops: Sequence[Loop] = ()
    unread: str = ""
    """The appliers and subscriptions that could not be read to find loops."""
    filtered: Collection[TableName] = ()
    """The published tables whose rows a function of a rule reads."""
    replaced: Collection[TableName] = ()
    """The published tables whose rows INSERT … ON CONFLICT writes."""
    stamps: bool = False
    """Whether conflicts are decided by the commit times of rows."""
    reads_commits: bool = False
    """Whether they depend on who wrote a row last, or when."""
    state: str = ""
    """The applier's state, as ApplierStatus has it; empty if it was never run."""
    remedies: Mapping[str, str] = attrs.field(factory=dict)
    """What to do in the states in which it has no slot with its changes."""


def apply_readiness(facts: ApplyFacts) -> Readiness:
    """Return the findings of all checks."""
    return Readiness(
        findings=(
            *_publisher(facts),
            *rights_findings(facts.rights, facts.major, facts.setup, uses_origin=facts.uses_origin),
            *_subscriber(facts),
            *_tables(facts),
        )
    )


def _publisher(facts: ApplyFacts) -> Iterator[Finding]:
    settings = facts.publisher
    yield setting_found(
        settings,
        "wal_level",
        value_of(settings, "wal_level") == "logical",
        needed="logical, on the publisher",
        value="logical",
    )
    # A slot that exists already has its place. The first one is the copy of a temporary slot, if
    # the server can copy slots.
    if not facts.has_slot:
        wanted = 2 if facts.copies_slots else 1
        yield free_places(settings, "max_replication_slots", used=facts.slots, wanted=wanted)
    if facts.state in facts.remedies:
        yield checked(
            "slot",
            ok=False,
            observed="it is lost" if facts.state == "lost" else "it does not exist",
            needed="the applier's slot, which has the changes since its last run",
            remedy=facts.remedies[facts.state],
        )
    yield replication_found(
        "role of the publisher", facts.publisher_role, facts.setup, ok=facts.may_replicate
    )
    yield checked(
        "two databases",
        ok=not facts.is_same_database or all(a != b for a, b in facts.tables.items()),
        observed="the publisher is the subscriber's own database, or a standby of it"
        if facts.is_same_database
        else "publisher and subscriber are different databases",
        needed="another database, or rules that map every table to another one: changes would"
        " else be applied to the table that they come from, again and again",
    )
    yield loop_finding(facts.loops, unread=facts.unread)


def _subscriber(facts: ApplyFacts) -> Iterator[Finding]:
    settings = facts.settings
    if facts.uses_origin and not facts.has_origin:
        # Before, origins share their limit with slots.
        is_own = has("subscription.origin_limit", facts.major)
        limit = "max_active_replication_origins" if is_own else "max_replication_slots"
        origins = free_places(settings, limit, used=facts.origins, wanted=1)
        yield attrs.evolve(origins, check=f"{limit} of the subscriber")
    yield setting_found(
        settings,
        "track_commit_timestamp",
        value_of(settings, "track_commit_timestamp") is True,
        needed="on, to know which commit wrote a row last",
        value="on",
        # Without versions to compare, only people read who wrote a row.
        otherwise=Severity.CRITICAL if facts.reads_commits else Severity.INFO,
    )


def _tables(facts: ApplyFacts) -> Iterator[Finding]:
    yield checked(
        "published tables",
        ok=bool(facts.tables),
        observed=counted(len(facts.tables), "table"),
        needed="at least one table in the publications",
    )
    identities = {identity.table: identity for identity in facts.identities}
    for source, target in facts.tables.items():
        check = f"table {source}"
        # Nothing else can be said of a table that does not fit.
        if source in facts.mismatches:
            yield checked(
                check,
                ok=False,
                observed=facts.mismatches[source],
                needed="a table of the subscriber that takes every published column",
                remedy="align the tables, or use a TableRule",
            )
            continue
        table = facts.targets.get(target)
        if table is not None:
            if source in facts.unreadable:
                yield checked(
                    f"{check} on the publisher",
                    ok=False,
                    observed=f"{facts.publisher_role} may not read it",
                    needed="USAGE on its schema and SELECT, to copy its rows",
                    remedy=facts.setup,
                )
            found = _table(check, table, identities.get(source), facts)
            if found.severity is Severity.OK and source in facts.ambiguous:
                found = ambiguous_found(check, table, facts.ambiguous[source])
            yield found
            yield from unfound_found(check, facts.unfound.get(source))
            yield from unsent_found(check, facts.unsent.get(source, ()))
            yield from _unpublished(check, facts.operations.get(source, ()), facts)
            yield from misfits_found(check, facts.misfits.get(source, ()))
            yield from unlogged_found(check, table)
            yield from rules_found(check, table, replaces=source in facts.replaced)
            if facts.stamps:
                yield from versions_found(check, table, facts.not_full.get(source, ()))
            elif source in facts.filtered:
                yield large_values_found(
                    check,
                    table,
                    facts.not_full.get(source, ()),
                    needed="REPLICA IDENTITY FULL: without it an unchanged large value is not sent;"
                    " the functions of the rule see UNCHANGED, and a row that fits where= again is"
                    " missing",
                    otherwise=Severity.WARNING,
                )


def _unpublished(check: str, sent: Collection[Operation], facts: ApplyFacts) -> Iterator[Finding]:
    wanted = [Operation.INSERT, Operation.UPDATE, Operation.DELETE]
    # A mesh refuses TRUNCATE on every node.
    if facts.truncates and facts.sends_truncate and not facts.stamps:
        wanted.append(Operation.TRUNCATE)
    missing = [operation for operation in wanted if operation not in sent]
    if missing:
        listed = ", ".join(operation.value.upper() for operation in missing)
        remedy = "ALTER PUBLICATION … SET (publish = …)"
        if missing == [Operation.TRUNCATE]:
            remedy += ", or use truncate=False"
        yield checked(
            f"{check}, its changes",
            ok=False,
            observed=f"its publications do not publish {listed}",
            needed="publications that publish every kind of change: after one that is not sent, the"
            " rows of both servers differ",
            remedy=remedy,
            # A table that only grows needs no other changes.
            otherwise=Severity.CRITICAL if facts.stamps else Severity.WARNING,
        )


def _table(
    check: str, table: TargetTable, identity: ReplicaIdentity | None, facts: ApplyFacts
) -> Finding:
    wanted = (*_NEEDED, "TRUNCATE") if facts.truncates else _NEEDED
    # TRUNCATE is refused there, since it has no version.
    if facts.stamps:
        wanted = (*_NEEDED, "TRIGGER")
    lacking = privileges_missing(check, table, facts.rights.role, wanted, facts.setup)
    if lacking is not None:
        return lacking
    if identity is not None and not identity.is_usable:
        return checked(
            check,
            ok=False,
            observed="the publisher has no replica identity for it",
            needed="a replica identity, unless only inserts are published",
            remedy=f"on the publisher: {identity.remedy}",
            # An insert works without an identity, and the checks do not know what is published.
            otherwise=Severity.WARNING,
        )
    is_keyed = bool(table.keys)
    # With all columns as identity, a row is found by all of its values.
    is_full = identity is not None and identity.kind is IdentityKind.FULL
    return checked(
        check,
        ok=is_keyed,
        observed=f"{table.table} has {'a' if is_keyed else 'no'} unique key",
        needed="a unique key on the subscriber; otherwise each change reads the whole table"
        + ("" if is_full else ", and rows can be duplicated"),
        remedy=f"ALTER TABLE {table.table} ADD PRIMARY KEY",
        otherwise=Severity.WARNING,
    )
