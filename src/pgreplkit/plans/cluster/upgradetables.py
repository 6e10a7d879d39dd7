"""The preconditions of a major upgrade: tables, their rows and sequences."""

from collections.abc import Iterator, Sequence

from pgreplkit._text import counted, quote_identifier
from pgreplkit.catalog.cluster.upgrade import UserTable
from pgreplkit.catalog.features import has
from pgreplkit.catalog.logical.replicaidentity import IdentityKind, ReplicaIdentity
from pgreplkit.plans.cluster.upgradefacts import UpgradeFacts
from pgreplkit.plans.cluster.upgradefindings import drift_found, listed
from pgreplkit.plans.server.readiness import checked, names_of
from pgreplkit.values.finding import Finding, Severity

_SEARCHED = {"btree": 16, "hash": 17}
"""Indexes other than the replica identity that an apply worker uses, by access method, each with
the first major version that does."""
_LARGE_VALUE = 1 << 28
"""Bytes: bytea is sent as text, with two digits for each byte, and a text has at most 1 GB."""


def table_findings(facts: UpgradeFacts) -> Iterator[Finding]:
    """Return the findings about the tables, their rows and sequences."""
    yield from replicated_findings(facts.tables, facts.identities, facts.new.major)
    yield xml_finding(facts.tables, reads_xml=facts.new_reads_xml)
    yield from _left_out(facts.tables)
    yield from _on_the_new_server(facts)


def xml_finding(tables: Sequence[UserTable], *, reads_xml: bool) -> Finding:
    """Return the finding about values that the new server cannot receive."""
    return listed(
        "XML columns",
        {
            one.table: "install a new server that is built with libxml, or change the columns to"
            " text"
            for one in tables
            if one.is_copied and one.xml_columns and not reads_xml
        },
        needed="a new server that can read them",
    )


def replicated_findings(
    tables: Sequence[UserTable], identities: Sequence[ReplicaIdentity], new_major: int
) -> Iterator[Finding]:
    """Return the findings about the tables that logical replication keeps the same."""
    copied = {one.table for one in tables if one.is_copied}
    # A check that looked at no table must not report a database that is ready.
    yield checked(
        "tables",
        ok=bool(copied),
        observed=f"{counted(len(copied), 'table')} to copy",
        needed="at least one",
        remedy="connect to the database that is upgraded",
    )
    yield listed(
        "replica identity",
        {i.table: i.remedy for i in identities if i.table in copied and not i.is_usable},
        needed="a key or REPLICA IDENTITY FULL for each table",
    )
    yield listed(
        "types without equality",
        {
            one.table: f"a key for {one.table}: {', '.join(one.unequal_columns)} has no equality"
            for one in tables
            if one.is_copied and one.unequal_columns
        },
        needed="no such columns in tables with REPLICA IDENTITY FULL",
    )
    yield _unsent_finding(tables, identities, new_major)
    yield listed(
        # ENABLE ALWAYS or REPLICA: the publisher has replicated what they did there.
        "triggers that fire on apply",
        {
            one.table: f"ALTER TABLE {one.table} ENABLE TRIGGER {quote_identifier(trigger)}"
            for one in tables
            for trigger in one.firing
        },
        needed="none: their effects are replicated already",
        otherwise=Severity.WARNING,
    )
    yield listed(
        "forced row level security",
        {
            one.table: f"ALTER TABLE {one.table} NO FORCE ROW LEVEL SECURITY"
            for one in tables
            # Before, they write as the subscription's owner, a superuser.
            if one.is_copied and one.hides_rows and has("subscription.run_as_owner", new_major)
        },
        needed="none until the end of the upgrade: apply workers write as the tables' owners",
    )
    yield from _slow_or_large([one for one in tables if one.is_copied], new_major)


def _unsent_finding(
    tables: Sequence[UserTable], identities: Sequence[ReplicaIdentity], new_major: int
) -> Finding:
    """Return the finding about replica identities with columns that are not sent."""
    generated = {one.table: one.generated for one in tables if one.is_copied}
    # While such a table is published for the way back, the new server refuses its updates.
    refuses = has("publication.generated", new_major)
    remedies = {}
    for identity in identities:
        unsent = [
            column
            for column in generated.get(identity.table, ())
            if column in identity.columns or (identity.kind is IdentityKind.FULL and refuses)
        ]
        if unsent:
            shown = ", ".join(map(quote_identifier, unsent))
            remedies[identity.table] = f"a key for {identity.table} without {shown}"
    return listed(
        "generated columns in the replica identity",
        remedies,
        needed="none: UPDATE and DELETE need columns that are replicated",
    )


def _left_out(tables: Sequence[UserTable]) -> Iterator[Finding]:
    not_replicated = {
        "unlogged tables": [t for t in tables if t.persistence == "u"],
        "foreign tables": [t for t in tables if t.kind == "f"],
        # Those without data on the old server raise the same error on the new one.
        "materialized views": [t for t in tables if t.kind == "m" and t.is_populated],
    }
    remedies = {
        "unlogged tables": "ALTER TABLE {} SET LOGGED",
        "foreign tables": "check that the new server reaches their servers",
        "materialized views": "REFRESH MATERIALIZED VIEW {} on the new server before the cutover",
    }
    for what, found in not_replicated.items():
        yield listed(
            what,
            {one.table: remedies[what].format(one.table) for one in found},
            needed="none: they are not replicated, so move them yourself",
            otherwise=Severity.WARNING,
        )


def _on_the_new_server(facts: UpgradeFacts) -> Iterator[Finding]:
    # A preparation that is undone lifts it, and an upgrade that is given up leaves it.
    unfence = f"DROP SCHEMA {facts.new_fence} CASCADE; " if facts.new_fence else ""
    yield listed(
        "rows on the new server",
        {table: f"{unfence}TRUNCATE {table} CASCADE" for table in facts.nonempty[:1]}
        | {table: f"TRUNCATE {table} CASCADE" for table in facts.nonempty[1:]},
        needed="empty tables; the statements are for the new server",
    )
    yield _missing_finding(facts)
    drifts = [] if facts.drift is None else list(facts.drift)
    # Others, such as another index, stop no apply worker.
    stopping = [one for one in drifts if one.severity >= Severity.CRITICAL]
    yield checked(
        "tables on the new server",
        ok=not stopping,
        observed=drift_found(stopping) or "none that differ",
        needed="the same definitions, partitions included",
        remedy="; ".join(dict.fromkeys(sql for one in stopping for sql in one.ddl))
        or "DROP TABLE on the new server, so that it is copied",
    )
    worst = max((one.severity for one in facts.sequences), default=Severity.OK)
    yield checked(
        "sequences",
        ok=not facts.sequences,
        observed="; ".join(f"{one.check}: {one.found}" for one in facts.sequences) or "the same",
        needed="sequences that continue on the new server",
        remedy="; ".join(one.remedy for one in facts.sequences),
        otherwise=worst,
    )


def _missing_finding(facts: UpgradeFacts) -> Finding:
    """Return the finding about tables that neither exist there nor would be created."""
    wanted = [one.table for one in facts.tables if one.kind in "rp" and not one.of_extension]
    missing = [table for table in wanted if table not in facts.there]
    # pg_restore creates all tables, or none: it stops at the first one that exists.
    is_copied = facts.copies_schema and len(missing) == len(wanted)
    others = "drop the others there" if facts.copies_schema else "prepare with copy_schema=True"
    return checked(
        "missing tables",
        ok=is_copied or not missing,
        observed="all are copied" if is_copied else names_of([str(table) for table in missing]),
        needed="all tables on the new server"
        + (", or none, so that all are copied" if facts.copies_schema else ""),
        remedy=f"create these tables on the new server, or {others}",
    )


def _slow_or_large(copied: Sequence[UserTable], new_major: int) -> Iterator[Finding]:
    # Without an index the apply worker reads the whole table for each change.
    searched = {method for method, since in _SEARCHED.items() if new_major >= since}
    yield listed(
        "updates without an index",
        {
            one.table: f"ALTER TABLE {one.table} REPLICA IDENTITY USING INDEX …"
            for one in copied
            if one.slow_changes and searched.isdisjoint(one.index_methods)
        },
        needed="an index with which the new server finds the rows of updates and deletes",
        otherwise=Severity.WARNING,
    )
    yield listed(
        "generated columns",
        {one.table: "none: the new server computes them" for one in copied if one.generated},
        needed="none that depend on the server",
        # They are the same as long as functions and collations are.
        otherwise=Severity.INFO,
    )
    yield listed(
        "late constraints",
        {
            one.table: "; ".join(
                f"ALTER TABLE {one.table} DROP CONSTRAINT {quote_identifier(name)}"
                for name in one.late_constraints
            )
            + " on the new server until the cutover"
            for one in copied
            if one.late_constraints
        },
        needed="no exclusion or deferrable constraints: applying can collide where the old server"
        " did not",
        otherwise=Severity.WARNING,
    )
    yield listed(
        "large values",
        {
            one.table: f"split the values of {one.table}"
            for one in copied
            if one.value_bytes >= _LARGE_VALUE
        },
        needed=f"values of less than {_LARGE_VALUE} bytes, which can be sent as text",
        otherwise=Severity.WARNING,
    )
