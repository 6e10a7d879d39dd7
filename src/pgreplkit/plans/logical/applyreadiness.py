"""Findings on whether an applier can run: rights, settings and tables of both servers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import attrs

from pgreplkit._text import counted
from pgreplkit.catalog.features import has
from pgreplkit.catalog.logical.applytables import TargetTable
from pgreplkit.catalog.logical.keytypes import ambiguous_key_columns
from pgreplkit.catalog.logical.publication import Operation
from pgreplkit.catalog.logical.replicaidentity import IdentityKind, ReplicaIdentity
from pgreplkit.plans.logical.applyleaves import NEEDED, UnfoundRows
from pgreplkit.plans.logical.applyloops import Loop, loop_finding
from pgreplkit.plans.server.readiness import (
    Readiness,
    Settings,
    checked,
    free_places,
    setting_found,
    value_of,
)
from pgreplkit.values.finding import Finding, Severity
from pgreplkit.values.tablename import TableName, quoted

KEY_NEEDED = (
    "a key whose equal values have one text, as numbers, texts of an ordinary collation, uuid and"
    " timestamps do: a deletion is remembered by the key as JSON"
)
KEY_REMEDY = "use another type or collation for the key"
_NEEDED = ("SELECT", "INSERT", "UPDATE", "DELETE")


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
                found = _ambiguous(check, table, facts.ambiguous[source])
            yield found
            yield from _unfound(check, facts.unfound.get(source))
            yield from _unsent(check, facts.unsent.get(source, ()))
            yield from _unpublished(check, facts.operations.get(source, ()), facts)
            yield from _misfits(check, facts.misfits.get(source, ()))
            yield from _unlogged(check, table)
            yield from _rules(check, table, replaces=source in facts.replaced)
            if facts.stamps:
                yield from _versions(check, table, facts.not_full.get(source, ()))
            elif source in facts.filtered:
                yield _large_values(
                    check,
                    table,
                    facts.not_full.get(source, ()),
                    needed="REPLICA IDENTITY FULL: without it an unchanged large value is not sent;"
                    " the functions of the rule see UNCHANGED, and a row that fits where= again is"
                    " missing",
                    otherwise=Severity.WARNING,
                )


def _unfound(check: str, unfound: UnfoundRows | None) -> Iterator[Finding]:
    if unfound is not None:
        yield checked(
            f"{check}, its partitions",
            ok=False,
            observed=unfound.found,
            needed=NEEDED,
            remedy=unfound.remedy,
        )


def _unsent(check: str, columns: Sequence[str]) -> Iterator[Finding]:
    if columns:
        yield checked(
            f"{check}, its replica identity",
            ok=False,
            observed=f"it has {', '.join(columns)}, which the publications do not send: the"
            " publisher refuses UPDATE and DELETE (42P10)",
            needed="publications that send all columns of the replica identity; stored generated"
            " columns need publish_generated_columns = stored, virtual ones cannot be sent",
            remedy="publish these columns, or choose another replica identity",
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


def _misfits(check: str, found: Sequence[str]) -> Iterator[Finding]:
    if found:
        yield checked(
            f"{check}, its types",
            ok=False,
            observed="; ".join(found),
            needed="columns that take every value of the publisher's: a change with another value"
            " stops the applier, or is rounded, cut or lost without an error",
            remedy="align the tables, as with schema_drift()",
            # It may be known that no such value exists.
            otherwise=Severity.WARNING,
        )


def unique_besides_key(table: TargetTable) -> list[str]:
    """Return the columns of other unique indexes than the key, and the names of constraints."""
    # In any order: an index with the key's columns refuses no other rows than the key does.
    key = {*table.primary_key}
    columns = [f"({', '.join(unique)})" for unique in table.keys if {*unique} != key]
    return [*columns, *table.refusing]


def _rules(check: str, table: TargetTable, *, replaces: bool) -> Iterator[Finding]:
    if refused := table.refused_rules(replaces=replaces):
        yield checked(
            f"{check}, its rules",
            ok=False,
            observed=f"{table.table} has {', '.join(refused)}",
            needed=NO_RULES if replaces else NO_FIRING_RULES,
            remedy="; ".join(table.without_rules(replaces=replaces)),
        )


NO_RULES = (
    "no rule for UPDATE, and none that fires for applied changes: INSERT … ON CONFLICT, by which"
    " they are applied, fails then"
)
NO_FIRING_RULES = (
    "no rule that fires for applied changes: it would replace them, add others, or lose rows"
    " without an error"
)


def _unlogged(check: str, table: TargetTable) -> Iterator[Finding]:
    if table.unlogged:
        yield checked(
            f"{check}, its persistence",
            ok=False,
            observed=f"{', '.join(table.unlogged)}: not logged",
            needed="logged tables: others are empty after a crash of the subscriber, and their"
            " changes do not come again",
            remedy="; ".join(f"ALTER TABLE {one} SET LOGGED" for one in table.unlogged),
            # The rows may be of no use after a crash.
            otherwise=Severity.WARNING,
        )


def unset_identities(table: TargetTable) -> list[str]:
    """Return the identity columns that keep the value of the node that inserted the row first."""
    key = {*table.primary_key}
    names = [column.name for column in table.columns if column.identity == "a"]
    return [name for name in names if name not in key]


def identities_found(check: str, unset: Mapping[str, Sequence[str]], table: TableName) -> Finding:
    """Return the finding about identity columns that a newer row cannot set.

    ``unset`` has them by the place of their table.
    """
    names = dict.fromkeys(name for found in unset.values() for name in found)
    return checked(
        check,
        ok=not unset,
        observed="; ".join(
            f"{', '.join(found)} on {place}: GENERATED ALWAYS" for place, found in unset.items()
        )
        or "each can be set by UPDATE, or is part of the key",
        needed="GENERATED BY DEFAULT for an identity column that is not part of the key: a newer"
        " row could not replace the value of an older one",
        remedy="; ".join(
            f"ALTER TABLE {table} ALTER COLUMN {quoted(name)} SET GENERATED BY DEFAULT"
            for name in names
        ),
    )


def _versions(check: str, table: TargetTable, not_full: Sequence[str]) -> Iterator[Finding]:
    """Yield what keeps the versions of rows from being equal on all nodes."""
    key = table.primary_key
    yield checked(
        f"{check}, its key",
        ok=bool(key),
        observed=f"{table.table} is identified by ({', '.join(key)})" if key else "it has no key",
        needed="a unique key of columns that are NOT NULL, by which deletions are remembered",
        remedy=f"ALTER TABLE {table.table} ADD PRIMARY KEY",
    )
    lost = [*ambiguous_key_columns(table)]
    yield checked(
        f"{check}, deletions",
        ok=not lost,
        observed=f"the key of {table.table} has {', '.join(lost)}"
        if lost
        else "they are found again by the key",
        needed=KEY_NEEDED,
        remedy=KEY_REMEDY,
    )
    unset = unset_identities(table)
    yield identities_found(
        f"{check}, identity columns", {"the subscriber": unset} if unset else {}, table.table
    )
    others = unique_besides_key(table)
    yield checked(
        f"{check}, other unique indexes",
        ok=not others,
        observed=f"{table.table} has {', '.join(others)}"
        if others
        else f"{table.table} has none except for its key",
        needed="no other: two nodes can each insert a row that the other refuses",
        remedy="make the node a column of these indexes, or drop them",
    )
    yield _large_values(
        check,
        table,
        not_full,
        needed="REPLICA IDENTITY FULL on every node: without it an unchanged large value is not"
        " sent, and a node that lost it to another change cannot get it back",
        otherwise=Severity.CRITICAL,
    )


def _large_values(
    check: str, table: TargetTable, not_full: Sequence[str], *, needed: str, otherwise: Severity
) -> Finding:
    # A large value of the key is sent, as the key always is.
    large = [c.name for c in table.columns if c.is_large and c.name not in table.primary_key]
    return checked(
        f"{check}, large values",
        ok=not not_full or not large,
        observed=f"the columns {', '.join(large)} can be stored out of line"
        if large
        else "no column can be stored out of line",
        needed=needed,
        remedy="; ".join(f"ALTER TABLE {one} REPLICA IDENTITY FULL" for one in not_full),
        otherwise=otherwise,
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


def _ambiguous(check: str, table: TargetTable, columns: Sequence[str]) -> Finding:
    found_by = f"({', '.join(columns)})" if columns else "all of their values"
    return checked(
        check,
        ok=False,
        observed=f"rows of {table.table} are found by {found_by}, which no unique index has",
        needed="a unique index on columns by which rows are found: a change could otherwise be"
        " applied to another row, and rows can be duplicated",
        remedy=f"create such an index on {table.table}, or choose other columns by the key of a"
        " TableRule",
        otherwise=Severity.WARNING,
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
