"""Read the facts about the two servers of a major upgrade."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import attrs
from psycopg import Rollback
from psycopg.sql import SQL, Identifier, Literal

from pgreplkit._async.cluster.upgradeprivileges import (
    read_left_out,
    read_missing_privileges,
)
from pgreplkit._async.cluster.upgraderows import read_nonempty, read_truncated
from pgreplkit._async.logical.drift import aschema_drift
from pgreplkit._async.logical.fence import (
    read_blockers,
    read_fence,
    read_fence_function,
)
from pgreplkit._async.logical.sequences import AsyncSequencePlan
from pgreplkit._async.primary import AsyncPrimary
from pgreplkit._async.server.identity import wrong_destination
from pgreplkit._async.wire.link import AsyncLink
from pgreplkit._async.wire.pooling import is_pooled
from pgreplkit.catalog.cluster.upgrade import (
    AVAILABLE,
    CLOSED_SCHEMAS,
    COPIED_TABLES,
    FACTS,
    FILLED_SCHEMAS,
    FOR_SUPERUSERS,
    HAS_SCHEMA,
    MAY_READ_PASSWORDS,
    MD5_ROLES,
    MISSED,
    NOT_A_MEMBER,
    NOT_OWNED,
    OWNERS,
    READ_XML,
    RIGHTS,
    TABLES,
    TRY_SUBSCRIPTION,
    UNFENCED,
    UNFENCED_ROLES,
    UNPUBLISHED,
    WRITING_EVENT_TRIGGERS,
    DatabaseFacts,
    RoleRights,
    UserTable,
    user_table_in,
)
from pgreplkit.catalog.cluster.upgradeschema import FINGERPRINT, KEEP, KEPT
from pgreplkit.catalog.logical.stuck import WorkerPool, worker_pool
from pgreplkit.catalog.server.identity import unsigned_system_id
from pgreplkit.catalog.view import table_in
from pgreplkit.driver import statements as parts
from pgreplkit.driver.conninfo import server_conninfo
from pgreplkit.driver.failures import FEATURE_NOT_SUPPORTED
from pgreplkit.errors import (
    ServerError,
    SlotLost,
    SlotNotFound,
    SubscriptionStuck,
)
from pgreplkit.plans.cluster.upgrade import (
    NEW,
    OLD,
    Names,
    UpgradePhase,
    UpgradeStatus,
    is_ending,
    phase_of,
)
from pgreplkit.plans.cluster.upgradechecks import lack_rights, rights_finding
from pgreplkit.plans.cluster.upgradefacts import Side, UpgradeFacts
from pgreplkit.plans.cluster.upgradegate import (
    blocking,
    cutover_findings,
    way_back_findings,
)
from pgreplkit.plans.cluster.upgradepairing import (
    NamedObjects,
    WrongServers,
    wrong_servers,
)
from pgreplkit.plans.cluster.upgradephases import UpgradeOperation, phase_finding
from pgreplkit.plans.cluster.upgradeprivileges import privileges_finding
from pgreplkit.plans.cluster.upgraderebuild import UpgradeObjects
from pgreplkit.plans.cluster.upgradeschema import (
    KeptSchema,
    colliding,
    definitions,
    schema_findings,
)
from pgreplkit.plans.cluster.upgradesteps import KeepSchema
from pgreplkit.plans.logical.subscription import SubscriptionStatus
from pgreplkit.values.finding import Finding, Severity
from pgreplkit.values.tablename import TableName, quoted

_CONNECT = 10.0
"""Seconds for a server to connect to the other one, as long as our own connections wait."""

_CATCH_UP = 6.0
"""Seconds for a subscription to catch up before a cutover: a worker that ended is started again
after wal_retrieve_retry_interval, 5 seconds by default. A slower one would keep the applications
from writing for as long."""


async def read_tables(link: AsyncLink) -> list[UserTable]:
    """Return the tables of the database, by name."""
    return [user_table_in(record) for record in await link.all("read the tables", TABLES)]


async def databases_of(*servers: AsyncPrimary) -> tuple[str, ...]:
    """Return the system identifiers and names of databases, for a journal."""
    found = []
    for server in servers:
        identity = await server.identity()
        found.append(f"{identity.system_id}/{identity.database}")
    return tuple(found)


async def read_upgrade_facts(
    old: AsyncPrimary,
    new: AsyncPrimary,
    names: Names,
    groups: int,
    replication: Mapping[str, str],
    *,
    copies_schema: bool,
    copies_owners: bool,
) -> UpgradeFacts:
    """Return all facts for the checks of a preparation."""
    tables = await read_tables(old._link)
    theirs = {one.table for one in await read_tables(new._link)}
    # Those of them that a copy of the schema would not create.
    both = [one.table for one in tables if one.is_copied and one.table in theirs]
    available, unreadable = await _available(new._link)
    here, there = replication.get(NEW), replication.get(OLD)
    old_side = await read_side(old, names, unreached=await _unreached(old, new, here))
    new_side = await read_side(
        new,
        names,
        available,
        extensions_error=unreadable,
        unreached=await _unreached(new, old, there),
        # The preparation fences it, and may have been interrupted.
        may_be_fenced=True,
    )
    # One database is a finding of its own, and has nothing to compare.
    is_one = old_side.facts.place == new_side.facts.place
    facts = UpgradeFacts(
        old=old_side,
        new=new_side,
        tables=tables,
        identities=await old.replica_identity(),
        nonempty=(),
        there=theirs,
        copies_schema=copies_schema,
        copies_owners=copies_schema and copies_owners,
        groups=groups,
        new_fence=names.fence
        if (await read_fence_function(new._link, names.fence)).refuses
        else "",
        writing_triggers=await read_writing_triggers(old=old),
        drift=await aschema_drift(old, new, both) if both and not is_one else None,
    )
    if lack_rights(old_side, new_side):
        return facts
    is_xml = any(one.is_copied and one.xml_columns for one in tables)
    facts = attrs.evolve(
        facts,
        # On a server without libxml, the question leaves an error in its log.
        new_reads_xml=not is_xml or await _reads_xml(new._link),
        nonempty=await read_nonempty(new._link, both),
        # The list cannot be read if one of their files cannot.
        refused_extensions=await _refused_extensions(
            new._link, () if unreadable else old_side.facts.extensions
        ),
        sequences=[] if is_one else await _sequence_findings(old, new),
    )
    return facts if is_one or not copies_schema else await _of_copy(facts, old._link, new._link)


async def _of_copy(facts: UpgradeFacts, old: AsyncLink, new: AsyncLink) -> UpgradeFacts:
    """Return the facts with those about a copy of the schema."""
    left_out_roles, uncopied_privileges = await read_left_out(
        old, new, database=facts.new.facts.database, owners=facts.copies_owners
    )
    return attrs.evolve(
        facts,
        refused_owners=await _refused_owners(old, new),
        closed_schemas=await _closed_schemas(old, new),
        colliding=await _colliding(old, new),
        left_out_roles=left_out_roles,
        uncopied_privileges=uncopied_privileges,
    )


async def _sequence_findings(old: AsyncPrimary, new: AsyncPrimary) -> list[Finding]:
    """Return the problems of the sequences that exist on both servers."""
    return [
        finding
        for change in (await AsyncSequencePlan.read(old, new)).changes
        # The others are created by the copy of the schema.
        if change.target is not None
        for finding in change.findings
    ]


async def read_side(
    server: AsyncPrimary,
    names: Names,
    available: Sequence[tuple[str, str]] = (),
    *,
    extensions_error: str = "",
    unreached: tuple[str, str | None] = ("", None),
    may_be_fenced: bool = False,
) -> Side:
    """Return the facts about one server; ``unreached`` is from ``_unreached``.

    ``may_be_fenced``: a fence of the upgrade is no obstacle there.
    """
    link = server._link
    rights = await read_rights(link, names)
    record = await link.one("read the facts of the database", FACTS)
    record["system_id"] = unsigned_system_id(record["system_id"])
    record["extensions"] = dict(record["extensions"])
    slots = [slot.name for slot in await server.slots()]
    leftovers = [f"slot {name}" for name in names.own_in(slots)]
    # A subscription of another database has a slot with a name that the upgrade needs, too.
    there = {"publication": record["publications"], "subscription": record.pop("all_subscriptions")}
    for kind, found in there.items():
        own = names.own_in(found)
        leftovers += [f"{kind} {name}" for name in own]
        record[f"{kind}s"] = [name for name in record[f"{kind}s"] if name not in own]
    leftovers += await _fence_schemas(link, names, may_be_fence=may_be_fenced)
    # pg_authid is for superusers: without the right, no finding is better than a refused check.
    may_read = await link.one("read the passwords", MAY_READ_PASSWORDS)
    md5 = await link.all("read the passwords", MD5_ROLES) if may_read["is_so"] else []
    pool = await link.one("count the workers", worker_pool(server.version.major))
    return Side(
        version=server.version,
        settings=await server.settings(),
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
        senders=0 if rights.missing else len(await server.replicas()),
        connection_error=unreached[0],
        connection_sqlstate=unreached[1],
        is_pooled=await is_pooled(server._link),
    )


async def read_rights(link: AsyncLink, names: Names) -> RoleRights:
    """Return the rights of the connecting role, also those on objects that the upgrade has."""
    operation = "read the rights of the role"
    rights = RoleRights(**await link.one(operation, RIGHTS))
    records = await link.all(operation, NOT_OWNED)
    found = [one["statement"] for one in records if names.is_own(one["kind"], one["name"])]
    return attrs.evolve(rights, missing=tuple(dict.fromkeys([*rights.missing, *found])))


async def read_lacking_rights(names: Names, **servers: AsyncPrimary) -> list[Finding]:
    """Return a finding for each server whose role lacks rights, without which others fail."""
    found = [
        rights_finding(node, await read_rights(server._link, names))
        for node, server in servers.items()
    ]
    return [one for one in found if one.severity is not Severity.OK]


async def _fence_schemas(link: AsyncLink, names: Names, *, may_be_fence: bool) -> list[str]:
    """Return the schema that has the name of the upgrade's fence, if it is an obstacle."""
    operation = "read the schemas"
    if not (await link.one(operation, HAS_SCHEMA, [names.fence]))["is_so"]:
        return []
    is_fence = await read_fence(link, names.fence) is not None
    return [] if is_fence and may_be_fence else [f"schema {names.fence}"]


async def _available(link: AsyncLink) -> tuple[Sequence[tuple[str, str]], str]:
    """Return the extensions that could be installed, or the error in one of their files."""
    try:
        return (await link.one("read the extensions", AVAILABLE))["available"], ""
    except ServerError as error:
        return (), error.found


async def _unreached(
    server: AsyncPrimary, other: AsyncPrimary, conninfo: str | None
) -> tuple[str, str | None]:
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
        async with link.transaction(operation, timeout=_CONNECT) as within:
            await within.run(operation, statement, grant="SUPERUSER")
            raise Rollback
    except ServerError as error:
        return error.found, error.sqlstate
    return await wrong_destination(given, other, server), None


async def _reads_xml(link: AsyncLink) -> bool:
    """Return whether the server was built with libxml."""
    try:
        await link.one("read XML", READ_XML)
    except ServerError as error:
        if error.sqlstate == FEATURE_NOT_SUPPORTED:
            return False
        raise
    return True


async def _refused_owners(old: AsyncLink, new: AsyncLink) -> dict[str, str | None]:
    """Return the owners of objects to whom the role of the new server cannot give them."""
    operation = "read the owners"
    owners = [record["name"] for record in await old.all(operation, OWNERS)]
    refused = await new.all(operation, NOT_A_MEMBER, [owners])
    return {record["name"]: record["statement"] for record in refused}


async def _closed_schemas(old: AsyncLink, new: AsyncLink) -> list[str]:
    """Return the schemas of the new server into which its role cannot copy objects."""
    operation = "read the rights on schemas"
    filled = [record["name"] for record in await old.all(operation, FILLED_SCHEMAS)]
    return [record["name"] for record in await new.all(operation, CLOSED_SCHEMAS, [filled])]


async def _colliding(old: AsyncLink, new: AsyncLink) -> list[str]:
    """Return the objects of the new server that keep the copy of the schema from its others."""
    there = await read_fingerprint(new)
    # A new database has none, and reading them takes longer than most other checks.
    return colliding(await read_fingerprint(old), there) if definitions(there) else []


async def _refused_extensions(new: AsyncLink, names: Iterable[str]) -> list[str]:
    """Return the extensions that the role of the new server cannot create."""
    if not (asked := [*names]):
        return []
    records = await new.all("read the extensions", FOR_SUPERUSERS, [asked])
    return [record["name"] for record in records]


async def read_state(
    old: AsyncPrimary, new: AsyncPrimary, names: Names, *, interrupted: str
) -> tuple[UpgradeStatus, WrongServers | None]:
    """Return the state of the upgrade, from the objects with its names on both servers.

    With it, what shows that the servers are not those of the preparation; None if nothing does.
    """
    forward = await _statuses(new, old, names, back=False)
    back = await _statuses(old, new, names, back=True)
    fences = [await read_fence(one._link, names.fence) for one in (old, new)]
    standing = [None if fence is None or fence.is_lifted else fence for fence in fences]
    # Someone may have disabled triggers: that is a problem of the phase, and not another one.
    fenced = [fence is not None for fence in standing]
    disabled = [{*fence.disabled} if fence else set[TableName]() for fence in standing]
    here, there = [
        await _read_named(server, has_fence=fence is not None)
        for server, fence in zip((old, new), fences, strict=True)
    ]
    wrong = wrong_servers(names, old=here, new=there)
    publications = [*names.forward_in(here.publications), *names.back_in(there.publications)]
    kept = await read_kept_schema(old, names.forward(1)) if publications else None
    phase = phase_of(
        forward,
        old_is_fenced=fenced[0],
        new_is_fenced=fenced[1],
        interrupted=interrupted,
        are_wrong=wrong is not None,
        is_lifting=any(fence is not None and fence.is_lifted for fence in fences),
        is_published=bool(publications),
        is_ending=is_ending(names, publications, is_kept=bool(kept and kept.new)),
    )
    # All of them were fenced, and there are no clients: someone may have dropped triggers, too.
    if phase is UpgradePhase.CUT_OVER:
        forward_publications = names.forward_in(here.publications)
        disabled[0] |= {*await read_unfenced(old._link, forward_publications)}
    if phase is UpgradePhase.PREPARED:
        forward_subscriptions = [one.state.subname for one in forward]
        disabled[1] |= {*await read_unfenced(new._link, forward_subscriptions)}
    status = UpgradeStatus(
        name=names.upgrade,
        phase=phase,
        forward=tuple(forward),
        back=tuple(back),
        old_is_fenced=fenced[0] and not disabled[0],
        new_is_fenced=fenced[1] and not disabled[1],
        old_disabled=tuple(sorted(disabled[0])),
        new_disabled=tuple(sorted(disabled[1])),
    )
    return status, wrong


async def _read_named(server: AsyncPrimary, *, has_fence: bool) -> NamedObjects:
    """Return the names of the objects of a server's database."""
    database = server.connection.info.dbname
    return NamedObjects(
        publications=[one.name for one in await server.publications()],
        subscriptions=[one.name for one in await server.subscriptions()],
        slots=[one.name for one in await server.slots() if one.state.database == database],
        has_fence=has_fence,
    )


async def _statuses(
    subscriber: AsyncPrimary, publisher: AsyncPrimary, names: Names, *, back: bool
) -> list[SubscriptionStatus]:
    subscriptions = {one.name: one for one in await subscriber.subscriptions()}
    wanted = names.back_in(subscriptions) if back else names.forward_in(subscriptions)
    return [await subscriptions[name].status(publisher) for name in wanted]


async def read_gate(
    old: AsyncPrimary,
    new: AsyncPrimary,
    status: UpgradeStatus,
    names: Names,
    groups: Mapping[str, Sequence[str]],
    files: dict[TableName, int],
) -> list[Finding]:
    """Return the findings of the gate of a cutover; ``groups`` are the publications' tables."""
    published = [TableName.parse(table) for group in groups.values() for table in group]
    if not published:
        # There is nothing else to look at.
        return [phase_finding(status, UpgradeOperation.CUTOVER)]
    drift = await aschema_drift(old, new, published)
    plan = await AsyncSequencePlan.read(old, new)
    kept = await read_kept_schema(old, names.forward(1)) or KeptSchema()
    is_prepared = status.phase is UpgradePhase.PREPARED
    subscribed = {one.state.subname for one in status.forward}
    return [
        privileges_finding(
            await read_missing_privileges(old._link, new._link, database=new.connection.info.dbname)
        ),
        *schema_findings(
            kept, await read_fingerprint(old._link), await read_fingerprint(new._link)
        ),
        *cutover_findings(
            status,
            drift,
            unsubscribed=sorted({*groups} - subscribed) if is_prepared else (),
            unpublished=await read_unpublished(old, groups),
            sequences=[one for one in plan.problems if one.severity >= Severity.CRITICAL],
            writers=blocking(await read_blockers(old._link, published)),
            subscriptions=await read_others(old, names),
            writing_triggers=await read_writing_triggers(old=old, new=new),
            unfenced_roles=await read_unfenced_roles(old=old, new=new),
            truncated=await read_truncated(old, new, groups, files),
            stuck=await read_stuck(old, new, status.forward if is_prepared else ()),
        ),
    ]


async def read_way_back(
    old: AsyncPrimary,
    new: AsyncPrimary,
    names: Names,
    groups: int,
    conninfo: str | None,
) -> list[Finding]:
    """Return the findings about the replication to the old server after a cutover."""
    here = await read_side(old, names, unreached=await _unreached(old, new, conninfo))
    return [*way_back_findings(here, await read_side(new, names), groups)]


async def read_stuck(
    publisher: AsyncPrimary, subscriber: AsyncPrimary, states: Sequence[SubscriptionStatus]
) -> list[str]:
    """Return why subscriptions do not catch up."""
    found = []
    for one in states:
        subscription = await subscriber.subscription(one.state.subname)
        try:
            await subscription.wait_for_catchup(timeout=_CATCH_UP, publisher=publisher)
        except (SubscriptionStuck, SlotLost, SlotNotFound) as error:
            found.append(str(error))
    return found


async def read_others(server: AsyncPrimary, names: Names) -> list[str]:
    """Return the enabled subscriptions that are not of the upgrade: a fence lets them write."""
    enabled = [one.name for one in await server.subscriptions() if one.state.subenabled]
    own = names.own_in(enabled)
    return [name for name in enabled if name not in own]


async def read_writing_triggers(**servers: AsyncPrimary) -> list[str]:
    """Return the enabled event triggers that write to tables, with the server that has them."""
    return [
        f"{record['name']} on the {node} server"
        for node, server in servers.items()
        for record in await server._link.all("read the event triggers", WRITING_EVENT_TRIGGERS)
    ]


async def read_unfenced_roles(**servers: AsyncPrimary) -> list[str]:
    """Return statements for settings with which sessions do not fire the triggers of a fence."""
    return [
        f"{record['statement']} on the {node} server"
        for node, server in servers.items()
        for record in await server._link.all("read the settings of roles", UNFENCED_ROLES)
    ]


async def read_unfenced(link: AsyncLink, names: Iterable[str], fence: str = "") -> list[TableName]:
    """Return the tables that do not refuse writes: of publications, subscriptions and a fence.

    ``names`` are those of the publications, or of the subscriptions, of the upgrade.
    """
    asked = [[*names], quoted(fence) if fence else None]
    return [table_in(record) for record in await link.all("read the write fence", UNFENCED, asked)]


async def read_fingerprint(link: AsyncLink) -> dict[str, str]:
    """Return a hash for each object of the schema."""
    # Definitions name schemas only where the search_path lacks them.
    async with link.qualified("read the schema") as within:
        records = await within.all("read the schema", FINGERPRINT)
    return {record["name"]: record["hash"] for record in records}


async def read_kept_schema(old: AsyncPrimary, publication: str) -> KeptSchema | None:
    """Return the fingerprints that the preparation kept; None without the publication."""
    records = await old._link.all("read the kept schema", KEPT, [publication])
    return KeptSchema.from_text(records[0]["kept"]) if records else None


async def read_objects(
    old: AsyncPrimary, new: AsyncPrimary, status: UpgradeStatus, names: Names
) -> UpgradeObjects:
    """Return the objects of an upgrade, from which a lost journal is rebuilt."""
    slots = await new.slots()
    kept = await read_kept_schema(old, names.forward(1)) or KeptSchema()
    groups, returned = await published_groups(old, names), await returned_groups(new, names)
    fences, identities, since, unfenced = {}, {}, {}, []
    for node, server, published in ((OLD, old, groups), (NEW, new, returned)):
        if (fence := await read_fence(server._link, names.fence)) is not None:
            fences[node] = not fence.is_lifted
            if fence.since is not None:
                since[node] = fence.since
            function = await read_fence_function(server._link, names.fence)
            identities[node] = function.identity
            unfenced += [node] if await read_unfenced(server._link, published, names.fence) else []
    return UpgradeObjects(
        phase=status.phase,
        publications=groups,
        back_publications=returned,
        back_slots=names.back_in({slot.name for slot in slots}),
        forward={one.state.subname: one.state.subenabled for one in status.forward},
        back={one.state.subname: one.state.subenabled for one in status.back},
        is_copied=bool(status.forward) and all(one.is_synced for one in status.forward),
        is_filled=await _is_filled(new._link, groups),
        kept=[node for node, found in ((OLD, kept.old), (NEW, kept.new)) if found],
        fences=fences,
        identities=identities,
        since=since,
        unfenced=unfenced,
    )


async def _is_filled(new: AsyncLink, groups: Mapping[str, Sequence[str]]) -> bool:
    """Return whether a published table has rows that no subscription copied."""
    copied = {table_in(one) for one in await new.all("read the copied tables", COPIED_TABLES)}
    there = {one.table for one in await read_tables(new)}
    published = {TableName.parse(table) for group in groups.values() for table in group}
    return bool(await read_nonempty(new, sorted((published & there) - copied)))


async def keep_schema(old: AsyncPrimary, server: AsyncPrimary, step: KeepSchema) -> None:
    """Keep the fingerprint of a server's schema, as the comment of a publication."""
    kept = await read_kept_schema(old, step.publication) or KeptSchema()
    # Both servers' fingerprints are in one text: each is compared with itself later.
    found = await read_fingerprint(server._link)
    kept = attrs.evolve(kept, old=found) if step.node == OLD else attrs.evolve(kept, new=found)
    statement = SQL(KEEP).format(Identifier(step.publication), Literal(kept.to_text()))
    await old._link.run("keep the schema", statement, grant="the owner")


async def compared_groups(
    publisher: AsyncPrimary, groups: Mapping[str, Sequence[str]]
) -> dict[str, Sequence[str]]:
    """Return the groups that are replicated: a publication may be older or newer than its slot."""
    slots = {slot.name for slot in await publisher.slots()}
    return {name: tables for name, tables in groups.items() if name in slots}


async def published_groups(old: AsyncPrimary, names: Names) -> dict[str, tuple[str, ...]]:
    """Return the tables of the upgrade's publications on the old server."""
    return await _groups_of(old, names.forward_in)


async def returned_groups(new: AsyncPrimary, names: Names) -> dict[str, tuple[str, ...]]:
    """Return the tables of the publications of the way back, on the new server."""
    return await _groups_of(new, names.back_in)


async def _groups_of(
    server: AsyncPrimary, own_in: Callable[[Iterable[str]], list[str]]
) -> dict[str, tuple[str, ...]]:
    """Return the tables of publications; ``own_in`` returns the upgrade's names among others."""
    publications = {one.name: one for one in await server.publications()}
    return {
        name: tuple(str(one.table) for one in await publications[name].tables())
        for name in own_in(publications)
    }


async def read_gone(new: AsyncPrimary, groups: Mapping[str, Sequence[str]]) -> list[TableName]:
    """Return the tables of publications that the new server no longer has."""
    there = {one.table for one in await read_tables(new._link)}
    published = sorted({TableName.parse(table) for group in groups.values() for table in group})
    return [table for table in published if table not in there]


async def read_missed(
    server: AsyncPrimary, publications: Sequence[str], *, with_rows: bool
) -> tuple[list[TableName], list[TableName]]:
    """Return the tables that none of the publications has, and those of them without a fence."""
    asked = [[*publications], [*publications], None]
    records = await server._link.all("read the tables", MISSED, asked)
    unpublished = [table_in(record) for record in records if not record["is_unfenced"]]
    if with_rows:
        unpublished = await read_nonempty(server._link, unpublished)
    return unpublished, [table_in(record) for record in records if record["is_unfenced"]]


async def read_unpublished(
    server: AsyncPrimary, publications: Iterable[str], *, with_rows: bool = False
) -> list[TableName]:
    """Return the tables of a server that none of the publications has."""
    records = await server._link.all("read the tables", UNPUBLISHED, [[*publications]])
    tables = [table_in(record) for record in records]
    return await read_nonempty(server._link, tables) if with_rows else tables
