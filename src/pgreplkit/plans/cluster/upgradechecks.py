"""The preconditions of a major upgrade, as findings with their remedies."""

from collections.abc import Iterator, Mapping, Sequence

import attrs

from pgreplkit._text import quote_identifier
from pgreplkit.catalog.cluster.upgrade import DatabaseFacts, UserTable
from pgreplkit.catalog.logical.replicaidentity import ReplicaIdentity
from pgreplkit.catalog.logical.stuck import WorkerPool
from pgreplkit.plans.cluster.upgrade import UpgradePhase, UpgradeStatus
from pgreplkit.plans.logical.drift import SchemaDrift
from pgreplkit.plans.server.readiness import (
    Settings,
    checked,
    free_places,
    names_of,
    setting_found,
    value_of,
)
from pgreplkit.values.finding import Finding, Severity
from pgreplkit.values.tablename import TableName

_SAFE_PATH = 17
"""The first major version that builds indexes with a safe search_path."""


@attrs.frozen(kw_only=True)
class Side:
    """The facts about one server of an upgrade."""

    major: int
    settings: Settings
    facts: DatabaseFacts
    pool: WorkerPool
    slots: int
    senders: int


@attrs.frozen(kw_only=True)
class UpgradeFacts:
    """The facts about both servers before the preparation."""

    old: Side
    new: Side
    tables: Sequence[UserTable]
    identities: Sequence[ReplicaIdentity]
    nonempty: Sequence[TableName]
    """Tables of the new database that have rows."""
    groups: int


def upgrade_findings(facts: UpgradeFacts) -> Iterator[Finding]:
    """Return one finding for each precondition of the preparation."""
    yield from _servers(facts)
    yield from _limits(facts)
    yield from _tables(facts)
    yield from _databases(facts)


def _servers(facts: UpgradeFacts) -> Iterator[Finding]:
    old, new = facts.old, facts.new
    same = (old.facts.system_id, old.facts.database) == (new.facts.system_id, new.facts.database)
    yield checked(
        "databases",
        ok=not same,
        observed="one database" if same else "two databases",
        needed="two different databases",
        remedy="connect to the new server",
    )
    yield checked(
        "direction",
        ok=new.major >= old.major,
        observed=f"{old.major} to {new.major}",
        needed="a new server of the same or a newer major version",
        remedy="exchange the servers",
    )
    for name, side in (("old", old), ("new", new)):
        found = setting_found(
            side.settings,
            "wal_level",
            value_of(side.settings, "wal_level") == "logical",
            needed="logical" if name == "old" else "logical, for the way back",
            value="logical",
        )
        yield attrs.evolve(found, check=f"{name}: wal_level")


def _limits(facts: UpgradeFacts) -> Iterator[Finding]:
    count = facts.groups
    for name, side in (("old", facts.old), ("new", facts.new)):
        # Each subscription may copy tables with a slot and a walsender of their own.
        copies = facts.new.pool.most_copies if name == "old" else 0
        wanted = {
            "max_replication_slots": (side.slots, count + copies),
            "max_wal_senders": (side.senders, count + copies),
            "max_logical_replication_workers": (side.pool.running, count + 1),
        }
        for setting, (used, needed) in wanted.items():
            places = free_places(side.settings, setting, used=used, wanted=needed)
            yield attrs.evolve(places, check=f"{name}: {setting}")
    kept = value_of(facts.old.settings, "max_slot_wal_keep_size")
    yield checked(
        "old: max_slot_wal_keep_size",
        # The value of "no limit" is None, or -1 in bytes.
        ok=not (isinstance(kept, int) and kept >= 0),
        observed="no limit" if not (isinstance(kept, int) and kept >= 0) else f"{kept} bytes",
        needed="no limit, or more than the WAL that is written during the copy",
        remedy="ALTER SYSTEM SET max_slot_wal_keep_size = -1; SELECT pg_reload_conf()",
        otherwise=Severity.WARNING,
    )


def _tables(facts: UpgradeFacts) -> Iterator[Finding]:
    copied = {one.table for one in facts.tables if one.is_copied}
    yield checked(
        "tables",
        ok=bool(copied),
        observed=f"{len(copied)} tables to copy",
        needed="at least one",
        remedy="connect to the database that is upgraded",
    )
    yield _listed(
        "replica identity",
        {i.table: i.remedy for i in facts.identities if i.table in copied and not i.is_usable},
        needed="a key or REPLICA IDENTITY FULL for each table",
    )
    yield _listed(
        "types without equality",
        {
            one.table: f"a key for {one.table}: {', '.join(one.unequal_columns)} has no equality"
            for one in facts.tables
            if one.is_copied and one.unequal_columns
        },
        needed="no such columns in tables with REPLICA IDENTITY FULL",
    )
    yield _listed(
        "triggers that fire on apply",
        {
            one.table: f"ALTER TABLE {one.table} ENABLE TRIGGER {quote_identifier(trigger)}"
            for one in facts.tables
            for trigger in one.firing
        },
        needed="none: what they do is replicated already",
        otherwise=Severity.WARNING,
    )
    not_replicated = {
        "unlogged tables": [t for t in facts.tables if t.persistence == "u"],
        "foreign tables": [t for t in facts.tables if t.kind == "f"],
        "materialized views": [t for t in facts.tables if t.kind == "m"],
    }
    remedies = {
        "unlogged tables": "dump and restore their rows at the cutover",
        "foreign tables": "check that the new server reaches their servers",
        "materialized views": "REFRESH MATERIALIZED VIEW {} on the new server",
    }
    for what, found in not_replicated.items():
        yield _listed(
            what,
            {one.table: remedies[what].format(one.table) for one in found},
            needed="none: they are not replicated",
            otherwise=Severity.WARNING,
        )
    yield _listed(
        "rows on the new server",
        {table: f"TRUNCATE {table} on the new server" for table in facts.nonempty},
        needed="empty tables",
    )


def _databases(facts: UpgradeFacts) -> Iterator[Finding]:
    old, new = facts.old.facts, facts.new.facts
    yield checked(
        "large objects",
        ok=not old.large_objects,
        observed=f"{old.large_objects} large objects",
        needed="none: they are not replicated",
        remedy="copy them after the fence, or store them in bytea columns",
    )
    yield _named(
        "extensions",
        [name for name in old.extensions if name not in {*new.available, *new.extensions}],
        needed="the packages of all extensions on the new server",
        remedy="install the packages of {} on the new server",
    )
    yield _named(
        "owners",
        sorted(old.owners - new.roles),
        needed="the owners of all tables on the new server",
        remedy="pg_dumpall --roles-only from the old server: {} are missing",
    )
    yield _named(
        "roles",
        sorted(old.roles - new.roles - old.owners),
        needed="the same roles on both servers",
        remedy="pg_dumpall --roles-only from the old server: {} are missing",
        otherwise=Severity.WARNING,
    )
    for what in ("encoding", "collation"):
        here, there = getattr(old, what), getattr(new, what)
        yield checked(
            what,
            ok=here == there,
            observed=f"{here} and {there}",
            needed="the same on both servers",
            remedy=f"CREATE DATABASE with the {what} {here}",
            otherwise=Severity.WARNING,
        )
    yield _named(
        "functions in indexes",
        old.unsafe_functions,
        needed="functions with a search_path of their own",
        remedy="ALTER FUNCTION {} SET search_path = …",
        otherwise=Severity.CRITICAL if facts.new.major >= _SAFE_PATH else Severity.WARNING,
    )
    for what, found, remedy in (
        ("database settings", old.database_settings, "set {} on the new server too"),
        ("event triggers", old.event_triggers, "check that {} do no harm on the new server"),
        ("other publications", old.publications, "create {} on the new server for their readers"),
        ("old transactions", old.old_transactions, "end {}: slots wait for them"),
    ):
        yield _named(what, found, needed="none", remedy=remedy, otherwise=Severity.WARNING)
    yield _named(
        "prepared transactions",
        old.prepared,
        needed="none: slots wait for them",
        remedy="COMMIT PREPARED or ROLLBACK PREPARED {}",
    )


def _listed(
    check: str,
    remedies: Mapping[TableName, str],
    *,
    needed: str,
    otherwise: Severity = Severity.CRITICAL,
) -> Finding:
    """Return the finding of a check of tables, with a remedy for each."""
    return checked(
        check,
        ok=not remedies,
        observed=names_of([str(table) for table in remedies]),
        needed=needed,
        remedy="; ".join(remedies.values()),
        otherwise=otherwise,
    )


def _named(
    check: str,
    names: Sequence[str],
    *,
    needed: str,
    remedy: str,
    otherwise: Severity = Severity.CRITICAL,
) -> Finding:
    listed = names_of(names)
    return checked(
        check,
        ok=not names,
        observed=listed,
        needed=needed,
        remedy=remedy.replace("{}", listed),
        otherwise=otherwise,
    )


def cutover_findings(
    status: UpgradeStatus,
    drift: SchemaDrift,
    *,
    unpublished: Sequence[TableName],
    sequences: Sequence[Finding],
    writers: Sequence[str],
    stuck: Sequence[str],
) -> Iterator[Finding]:
    """Return the findings of the gate: what must be so before anything is fenced."""
    yield phase_finding(status, UpgradePhase.PREPARED)
    yield checked(
        "apply",
        ok=not stuck,
        observed="; ".join(stuck) or "the new server has applied all commits until now",
        needed="subscriptions that catch up within seconds",
        remedy="resolve what subscription.diagnose() reports",
    )
    stopping = [one for one in drift.drifts if one.severity >= Severity.CRITICAL]
    yield checked(
        "schema",
        ok=not stopping,
        observed="; ".join(f"{d.table}: {d.found}" for d in stopping) or "the same",
        needed="no DDL since the preparation",
        remedy="; ".join(drift.ddl) or "align the schemas",
    )
    yield checked(
        "new tables",
        ok=not unpublished,
        observed=names_of([str(table) for table in unpublished]),
        needed="no tables that were created since the preparation",
        remedy="add them to a publication, and refresh its subscription",
    )
    yield checked(
        "long writers",
        ok=not writers,
        observed=names_of(writers),
        needed="none: the fence waits for them",
        remedy="end them",
        otherwise=Severity.WARNING,
    )
    yield from sequences


def phase_finding(status: UpgradeStatus, *needed: UpgradePhase) -> Finding:
    """Return the finding about the phase in which an operation is possible."""
    return checked(
        "phase",
        ok=status.phase in needed,
        observed=f"{status.name} is {status.phase}",
        needed=" or ".join(needed),
        remedy="complete the operation that leads there first",
    )


def rollback_findings(status: UpgradeStatus) -> Iterator[Finding]:
    """Return the findings of a rollback: the old server must have followed all the time."""
    yield phase_finding(status, UpgradePhase.CUT_OVER)
    running = [one for one in status.back if one.state.subenabled]
    yield checked(
        "way back",
        ok=bool(running) and len(running) == len(status.forward),
        observed=f"{len(running)} of {len(status.forward)} groups replicate to the old server",
        needed="all of them, since the cutover",
        remedy="none after a cutover with way_back=False",
    )
