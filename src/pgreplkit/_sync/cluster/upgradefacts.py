# Generated from pgreplkit/_async/cluster/upgradefacts.py by `nox -s sync`. Do not edit.
"""Read the facts about the two servers of a major upgrade."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import attrs
from psycopg import Rollback
from psycopg.sql import SQL

from pgreplkit._sync.cluster.upgradefences import read_writing_triggers
from pgreplkit._sync.cluster.upgradegroups import read_tables
from pgreplkit._sync.cluster.upgradeprivileges import read_left_out
from pgreplkit._sync.cluster.upgraderows import read_nonempty
from pgreplkit._sync.cluster.upgradeschema import read_fingerprint
from pgreplkit._sync.logical.drift import schema_drift
from pgreplkit._sync.logical.fence import read_fence, read_fence_function
from pgreplkit._sync.logical.sequences import SequencePlan
from pgreplkit._sync.primary import Primary
from pgreplkit._sync.server.identity import wrong_destination
from pgreplkit._sync.wire.link import Link
from pgreplkit._sync.wire.pooling import is_pooled
from pgreplkit.catalog.cluster.upgrade import (
    AVAILABLE,
    CLOSED_SCHEMAS,
    FACTS,
    FILLED_SCHEMAS,
    FOR_SUPERUSERS,
    HAS_SCHEMA,
    MAY_READ_PASSWORDS,
    MD5_ROLES,
    NOT_A_MEMBER,
    NOT_OWNED,
    OTHER_TRIGGERS,
    OWNERS,
    READ_XML,
    RIGHTS,
    TRY_SUBSCRIPTION,
    DatabaseFacts,
    RoleRights,
)
from pgreplkit.catalog.logical.stuck import WorkerPool, worker_pool
from pgreplkit.catalog.server.identity import unsigned_system_id
from pgreplkit.driver import statements as parts
from pgreplkit.driver.conninfo import server_conninfo
from pgreplkit.driver.failures import FEATURE_NOT_SUPPORTED
from pgreplkit.errors import ServerError
from pgreplkit.plans.cluster.upgrade import NEW, OLD, Names
from pgreplkit.plans.cluster.upgradechecks import lack_rights, rights_finding
from pgreplkit.plans.cluster.upgradefacts import Side, UpgradeFacts
from pgreplkit.plans.cluster.upgradeschema import colliding, definitions
from pgreplkit.plans.cluster.upgradeslots import slot_text
from pgreplkit.values.finding import Finding, Severity

_CONNECT = 10.0
"""Seconds for a server to connect to the other one, as long as our own connections wait."""


def databases_of(*servers: Primary) -> tuple[str, ...]:
    """Return the system identifiers and names of databases, for a journal."""
    found = []
    for server in servers:
        identity = server.identity()
        found.append(f"{identity.system_id}/{identity.database}")
    return tuple(found)


def read_upgrade_facts(
    old: Primary,
    new: Primary,
    names: Names,
    groups: int,
    replication: Mapping[str, str],
    *,
    copies_schema: bool,
    copies_owners: bool,
) -> UpgradeFacts:
    """Return all facts for the checks of a preparation."""
    tables = read_tables(old._link)
    theirs = {one.table for one in read_tables(new._link)}
    # Those of them that a copy of the schema would not create.
    both = [one.table for one in tables if one.is_copied and one.table in theirs]
    available, unreadable = _available(new._link)
    here, there = replication.get(NEW), replication.get(OLD)
    old_side = read_side(old, names, unreached=read_unreached(old, new, here))
    new_side = read_side(
        new,
        names,
        available,
        extensions_error=unreadable,
        unreached=read_unreached(new, old, there),
        # The preparation fences it, and may have been interrupted.
        may_be_fenced=True,
    )
    # One database is a finding of its own, and has nothing to compare.
    is_one = old_side.facts.place == new_side.facts.place
    facts = UpgradeFacts(
        old=old_side,
        new=new_side,
        tables=tables,
        identities=old.replica_identity(),
        nonempty=(),
        there=theirs,
        copies_schema=copies_schema,
        copies_owners=copies_schema and copies_owners,
        groups=groups,
        new_fence=names.fence if (read_fence_function(new._link, names.fence)).refuses else "",
        writing_triggers=read_writing_triggers(old=old),
        drift=schema_drift(old, new, both) if both and not is_one else None,
    )
    if lack_rights(old_side, new_side):
        return facts
    is_xml = any(one.is_copied and one.xml_columns for one in tables)
    facts = attrs.evolve(
        facts,
        # On a server without libxml, the question leaves an error in its log.
        new_reads_xml=not is_xml or _reads_xml(new._link),
        nonempty=read_nonempty(new._link, both),
        # The list cannot be read if one of their files cannot.
        refused_extensions=_refused_extensions(
            new._link, () if unreadable else old_side.facts.extensions
        ),
        sequences=[] if is_one else _sequence_findings(old, new),
    )
    return facts if is_one or not copies_schema else _of_copy(facts, old._link, new._link)


def _of_copy(facts: UpgradeFacts, old: Link, new: Link) -> UpgradeFacts:
    """Return the facts with those about a copy of the schema."""
    left_out_roles, uncopied_privileges = read_left_out(
        old, new, database=facts.new.facts.database, owners=facts.copies_owners
    )
    return attrs.evolve(
        facts,
        refused_owners=_refused_owners(old, new),
        closed_schemas=_closed_schemas(old, new),
        colliding=_colliding(old, new),
        left_out_roles=left_out_roles,
        uncopied_privileges=uncopied_privileges,
    )


def _sequence_findings(old: Primary, new: Primary) -> list[Finding]:
    """Return the problems of the sequences that exist on both servers."""
    return [
        finding
        for change in (SequencePlan.read(old, new)).changes
        # The others are created by the copy of the schema.
        if change.target is not None
        for finding in change.findings
    ]


def read_side(
    server: Primary,
    names: Names,
    available: Sequence[tuple[str, str]] = (),
    *,
    extensions_error: str = "",
    unreached: tuple[str, str | None] = ("", None),
    may_be_fenced: bool = False,
) -> Side:
    """Return the facts about one server; ``unreached`` is from ``read_unreached``.

    ``may_be_fenced``: a fence of the upgrade is no obstacle there.
    """
    link = server._link
    rights = read_rights(link, names)
    record = link.one("read the facts of the database", FACTS)
    record["system_id"] = unsigned_system_id(record["system_id"])
    record["extensions"] = dict(record["extensions"])
    slots = {slot.name: slot.state for slot in server.slots()}
    database = str(record["database"])
    leftovers = [f"slot {slot_text(slots[name], database)}" for name in names.own_in(slots)]
    # A subscription of another database has a slot with a name that the upgrade needs, too.
    there = {"publication": record["publications"], "subscription": record.pop("all_subscriptions")}
    for kind, found in there.items():
        own = names.own_in(found)
        leftovers += [f"{kind} {name}" for name in own]
        record[f"{kind}s"] = [name for name in record[f"{kind}s"] if name not in own]
    leftovers += _of_fence(link, names, may_be_fence=may_be_fenced)
    # pg_authid is for superusers: without the right, no finding is better than a refused check.
    may_read = link.one("read the passwords", MAY_READ_PASSWORDS)
    md5 = link.all("read the passwords", MD5_ROLES) if may_read["is_so"] else []
    pool = link.one("count the workers", worker_pool(server.version.major))
    return Side(
        version=server.version,
        settings=server.settings(),
        facts=DatabaseFacts(
            available=dict(available),
            extensions_error=extensions_error,
            md5_roles=[one["role"] for one in md5],
            **record,
        ),
        rights=rights,
        pool=WorkerPool(**pool),
        slots=len(slots),
        leftovers=leftovers,
        # They are hidden from a role without pg_monitor, whose finding is enough.
        senders=0 if rights.missing else len(server.replicas()),
        connection_error=unreached[0],
        connection_sqlstate=unreached[1],
        is_pooled=is_pooled(server._link),
    )


def read_rights(link: Link, names: Names) -> RoleRights:
    """Return the rights of the connecting role, also those on objects that the upgrade has."""
    operation = "read the rights of the role"
    rights = RoleRights(**link.one(operation, RIGHTS))
    records = link.all(operation, NOT_OWNED)
    found = [one["statement"] for one in records if names.is_own(one["kind"], one["name"])]
    return attrs.evolve(rights, missing=tuple(dict.fromkeys([*rights.missing, *found])))


def read_lacking_rights(names: Names, **servers: Primary) -> list[Finding]:
    """Return a finding for each server whose role lacks rights, without which others fail."""
    found = [
        rights_finding(node, read_rights(server._link, names)) for node, server in servers.items()
    ]
    return [one for one in found if one.severity is not Severity.OK]


def _of_fence(link: Link, names: Names, *, may_be_fence: bool) -> list[str]:
    """Return the schema and triggers with the name of the upgrade's fence that are obstacles."""
    records = link.all("read the triggers", OTHER_TRIGGERS, [names.fence])
    triggers = [record["name"] for record in records]
    if not (link.one("read the schemas", HAS_SCHEMA, [names.fence]))["is_so"]:
        return triggers
    is_fence = read_fence(link, names.fence) is not None
    return triggers if is_fence and may_be_fence else [f"schema {names.fence}", *triggers]


def _available(link: Link) -> tuple[Sequence[tuple[str, str]], str]:
    """Return the extensions that could be installed, or the error in one of their files."""
    try:
        return (link.one("read the extensions", AVAILABLE))["available"], ""
    except ServerError as error:
        return (), error.found


def read_unreached(server: Primary, other: Primary, conninfo: str | None) -> tuple[str, str | None]:
    """Return why a server cannot connect to the other one as a subscriber, with the SQLSTATE.

    The reason is empty if it can.

    The server tries it itself, with a subscription that is rolled back.
    """
    link = server._link
    given = conninfo
    if given is None:
        given = server_conninfo(other.connection, other._link.conninfo, major=server.version.major)
    statement = SQL(TRY_SUBSCRIPTION).format(parts.connection(given))
    operation = "connect to the other server"
    try:
        with link.transaction(operation, timeout=_CONNECT) as within:
            within.run(operation, statement, grant="SUPERUSER")
            raise Rollback
    except ServerError as error:
        return error.found, error.sqlstate
    return wrong_destination(given, other, server), None


def _reads_xml(link: Link) -> bool:
    """Return whether the server was built with libxml."""
    try:
        link.one("read XML", READ_XML)
    except ServerError as error:
        if error.sqlstate == FEATURE_NOT_SUPPORTED:
            return False
        raise
    return True


def _refused_owners(old: Link, new: Link) -> dict[str, str | None]:
    """Return the owners of objects to whom the role of the new server cannot give them."""
    operation = "read the owners"
    owners = [record["name"] for record in old.all(operation, OWNERS)]
    refused = new.all(operation, NOT_A_MEMBER, [owners])
    return {record["name"]: record["statement"] for record in refused}


def _closed_schemas(old: Link, new: Link) -> list[str]:
    """Return the schemas of the new server into which its role cannot copy objects."""
    operation = "read the rights on schemas"
    filled = [record["name"] for record in old.all(operation, FILLED_SCHEMAS)]
    return [record["name"] for record in new.all(operation, CLOSED_SCHEMAS, [filled])]


def _colliding(old: Link, new: Link) -> list[str]:
    """Return the objects of the new server that keep the copy of the schema from its others."""
    there = read_fingerprint(new)
    # A new database has none, and reading them takes longer than most other checks.
    return colliding(read_fingerprint(old), there) if definitions(there) else []


def _refused_extensions(new: Link, names: Iterable[str]) -> list[str]:
    """Return the extensions that the role of the new server cannot create."""
    if not (asked := [*names]):
        return []
    records = new.all("read the extensions", FOR_SUPERUSERS, [asked])
    return [record["name"] for record in records]
