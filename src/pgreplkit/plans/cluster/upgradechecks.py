"""The preconditions of a major upgrade, as findings with their remedies."""

import re
from collections.abc import Iterator, Mapping, Sequence

import attrs

from pgreplkit._text import quote_identifier
from pgreplkit.catalog.cluster.upgrade import DatabaseFacts, UserTable
from pgreplkit.catalog.logical.replicaidentity import ReplicaIdentity
from pgreplkit.catalog.logical.stuck import WorkerPool
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
from pgreplkit.values.version import ServerVersion

_SAFE_PATH = 17
"""The first major version that builds indexes with a safe search_path."""
_SEARCHED_BY_INDEX = 16
"""The first major version whose apply worker uses other indexes than the replica identity."""
_OWN_ORIGINS = 18
"""The first major version with a limit for replication origins of its own."""
_LARGE_VALUE = 1 << 28
"""Bytes: bytea is sent as text, with two digits for each byte, and a text has at most 1 GB."""
_TIMEOUTS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
_FAULTS = {
    (16, 2): "deadlocks between applying and copying",
    (16, 3): "copies that race with the apply worker",
    (16, 4): "slots that start at a wrong position",
    (16, 5): "a position that moves on after an error",
    (16, 6): "a slot that goes back",
    (16, 9): "a position that is reset after an error",
    (16, 10): "deadlocks of DROP PUBLICATION",
    (16, 12): "a copy that is lost in a crash",
    (17, 2): "a slot that goes back",
    (17, 5): "a position that is reset after an error",
    (17, 6): "deadlocks of DROP PUBLICATION",
    (17, 8): "a copy that is lost in a crash",
    (18, 2): "a copy that is lost in a crash",
}
"""Faults of logical replication, by the release that fixed them: from the release notes."""


@attrs.frozen(kw_only=True)
class Side:
    """The facts about one server of an upgrade."""

    version: ServerVersion
    settings: Settings
    facts: DatabaseFacts
    pool: WorkerPool
    slots: int
    senders: int
    reaches: str = ""
    """The error with which it connects to the other server; empty if it does."""

    @property
    def major(self) -> int:
        """The major version."""
        return self.version.major


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
    sequences: Sequence[Finding] = ()
    """The problems of sequences that exist on both servers."""
    drift: SchemaDrift | None = None
    """The differences of the tables that exist on both servers."""


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
    for name, side, other in (("old", old, "new"), ("new", new, "old")):
        faults = [
            f"{text} (fixed in {major}.{minor})"
            for (major, minor), text in _FAULTS.items()
            if major == side.version.major and minor > side.version.minor
        ]
        yield checked(
            f"{name}: minor release",
            ok=not faults,
            observed=f"{side.version}: {'; '.join(faults) or 'no known faults'}",
            needed="a release without known faults of logical replication",
            remedy="install the latest minor release",
            otherwise=Severity.WARNING,
        )
        yield checked(
            f"{name} reaches {other}",
            ok=not side.reaches,
            observed=side.reaches or "it connects",
            needed=f"a connection with REPLICATION from the {name} server to the {other} one",
            remedy=f"allow it in pg_hba.conf of the {other} server, or pass a connection string in"
            f" replication={{{other!r}: …}}",
        )
        limits = [
            setting for setting in _TIMEOUTS if value_of(side.settings, setting) not in (0, None)
        ]
        yield checked(
            f"{name}: timeouts",
            ok=not limits,
            observed=names_of(limits),
            needed="none: they end copies, and the slots wait for transactions",
            remedy="; ".join(f"ALTER ROLE CURRENT_USER SET {setting} = 0" for setting in limits),
            otherwise=Severity.WARNING,
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
            "max_worker_processes": (side.pool.processes, count + 1),
        }
        if name == "new":
            # Before 18, max_replication_slots limits origins too, on its own count.
            origins = (side.pool.origins, count + side.pool.most_copies)
            if side.major >= _OWN_ORIGINS:
                wanted["max_active_replication_origins"] = origins
            else:
                wanted["max_replication_slots"] = max(
                    wanted["max_replication_slots"], origins, key=sum
                )
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
    yield from _slow_or_large(facts)
    not_replicated = {
        "unlogged tables": [t for t in facts.tables if t.persistence == "u"],
        "foreign tables": [t for t in facts.tables if t.kind == "f"],
        "materialized views": [t for t in facts.tables if t.kind == "m"],
    }
    remedies = {
        "unlogged tables": "ALTER TABLE {} SET LOGGED",
        "foreign tables": "check that the new server reaches their servers",
        "materialized views": "REFRESH MATERIALIZED VIEW {} on the new server",
    }
    for what, found in not_replicated.items():
        yield _listed(
            what,
            {one.table: remedies[what].format(one.table) for one in found},
            needed="none: they are not replicated, so move them yourself",
            otherwise=Severity.WARNING,
        )
    yield _listed(
        "rows on the new server",
        {table: f"TRUNCATE {table} CASCADE" for table in facts.nonempty},
        needed="empty tables; the statements are for the new server",
    )
    drifts = [] if facts.drift is None else list(facts.drift)
    stopping = [one for one in drifts if one.severity >= Severity.CRITICAL]
    yield checked(
        "tables on the new server",
        ok=not stopping,
        observed="; ".join(f"{d.table}: {d.found}" for d in stopping) or "none that differ",
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


def _slow_or_large(facts: UpgradeFacts) -> Iterator[Finding]:
    copied = [one for one in facts.tables if one.is_copied]
    searched = facts.new.major >= _SEARCHED_BY_INDEX
    yield _listed(
        "updates without an index",
        {
            one.table: f"ALTER TABLE {one.table} REPLICA IDENTITY USING INDEX …"
            for one in copied
            if one.slow_changes and not (searched and one.has_index)
        },
        needed="an index with which the new server finds the rows of updates and deletes",
        otherwise=Severity.WARNING,
    )
    yield _listed(
        "generated columns",
        {one.table: "none: the new server computes them" for one in copied if one.generated},
        needed="none that depend on the server",
        otherwise=Severity.INFO,
    )
    yield _listed(
        "late constraints",
        {
            one.table: f"ALTER TABLE {one.table} DROP CONSTRAINT {quote_identifier(name)}"
            " on the new server until the cutover"
            for one in copied
            for name in one.late_constraints
        },
        needed="no exclusion or deferrable constraints: applying can collide where the old server"
        " did not",
        otherwise=Severity.WARNING,
    )
    yield _listed(
        "large values",
        {
            one.table: f"split the values of {one.table}, or subscribe with binary = true"
            for one in copied
            if one.value_bytes >= _LARGE_VALUE
        },
        needed=f"values of less than {_LARGE_VALUE} bytes, which can be sent as text",
        otherwise=Severity.WARNING,
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
        "older extensions",
        [
            f"{name} {there} < {version}"
            for name, version in old.extensions.items()
            if _is_older(there := new.extensions.get(name) or new.available.get(name), version)
        ],
        needed="the same or newer versions of all extensions",
        remedy="install newer packages on the new server: {}",
        otherwise=Severity.WARNING,
    )
    yield _named(
        "rows of extensions",
        old.filled_extensions,
        needed="none: CREATE EXTENSION fills its tables, and they are not replicated",
        remedy="pg_dump --data-only --table={}, into the new server",
        otherwise=Severity.WARNING,
    )
    yield _named(
        "tablespaces",
        sorted(old.used_tablespaces - new.tablespaces),
        needed="the same tablespaces on both servers",
        remedy="CREATE TABLESPACE {} LOCATION … on the new server",
    )
    yield checked(
        "memberships",
        ok={*old.memberships} <= {*new.memberships},
        observed=f"{len({*old.memberships} - {*new.memberships})} memberships are missing",
        needed="the same memberships of roles",
        remedy="; ".join(one for one in old.memberships if one not in new.memberships),
        otherwise=Severity.WARNING,
    )
    yield _named(
        "md5 passwords",
        old.md5_roles,
        needed="SCRAM: md5 passwords are deprecated from 18 on",
        remedy="set the passwords of {} again, with password_encryption = scram-sha-256",
        otherwise=Severity.INFO,
    )
    versions = {old.collation_version, new.collation_version} - {None}
    yield checked(
        "collation version",
        ok=len(versions) < 2,
        observed=" and ".join(map(str, sorted(versions, key=str))) or "unknown",
        needed="the same order on both servers",
        remedy="compare range partitions and CHECK constraints on texts; indexes are built again",
        otherwise=Severity.WARNING,
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
        "functions without a search_path",
        old.unsafe_functions,
        needed="functions with a search_path of their own",
        remedy="; ".join(
            f"ALTER FUNCTION {one} SET search_path FROM CURRENT" for one in old.unsafe_functions
        ),
        otherwise=Severity.CRITICAL if facts.new.major >= _SAFE_PATH else Severity.WARNING,
    )
    yield _named(
        "database settings",
        [
            one.replace("{}", quote_identifier(new.database))
            for one in old.database_settings
            if one not in new.database_settings
        ],
        needed="the same settings on both servers",
        remedy="{}",
        otherwise=Severity.WARNING,
        separator="; ",
    )
    for what, found, remedy in (
        ("event triggers", old.event_triggers, "check that {} do no harm on the new server"),
        ("other publications", old.publications, "create {} on the new server for their readers"),
        ("other subscriptions", old.subscriptions, "create {} on the new server at the cutover"),
        ("old transactions", old.old_transactions, "end {}: slots wait for them"),
    ):
        yield _named(what, found, needed="none", remedy=remedy, otherwise=Severity.WARNING)
    yield _named(
        "prepared transactions",
        old.prepared,
        needed="none: slots wait for them",
        remedy="COMMIT PREPARED or ROLLBACK PREPARED {}",
    )


def _is_older(there: str | None, version: str) -> bool:
    """Return whether an extension has an older version there; versions may be any text."""
    parts = [[*map(int, re.findall(r"\d+", one))] for one in (there or version, version)]
    return parts[0] < parts[1]


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
    separator: str = ", ",
) -> Finding:
    listed = separator.join(names) or "none"
    return checked(
        check,
        ok=not names,
        observed=listed,
        needed=needed,
        remedy=remedy.replace("{}", listed),
        otherwise=otherwise,
    )
