"""Sample facts about the servers of an upgrade."""

from __future__ import annotations

from datetime import UTC, datetime

import attrs
from logicalfacts import slot_state, subscribed, subscription_state
from serverfacts import settings as settings_of

from pgreplkit.catalog.cluster.upgrade import DatabaseFacts, RoleRights, UserTable
from pgreplkit.catalog.logical.replicaidentity import ReplicaIdentity
from pgreplkit.catalog.logical.stuck import WorkerPool
from pgreplkit.plans.cluster.upgrade import Names, cutover_journal, rollback_journal
from pgreplkit.plans.cluster.upgradefacts import Side, UpgradeFacts
from pgreplkit.plans.cluster.upgradestatus import UpgradePhase, UpgradeStatus
from pgreplkit.plans.logical.subscription import SubscriptionStatus
from pgreplkit.rows import TableState
from pgreplkit.values.tablename import TableName
from pgreplkit.values.version import ServerVersion

NOW = datetime(2026, 1, 1, tzinfo=UTC)
POOL = WorkerPool(
    running=0,
    most=10,
    most_copies=2,
    processes=0,
    most_processes=20,
    origins=0,
    most_origins=10,
    origins_setting="max_replication_slots",
)


def table(name: str, size: int = 0, joined: tuple[str, ...] = (), **facts: object) -> UserTable:
    """A table as the old server has it."""
    given_facts: dict[str, object] = {
        "kind": "r",
        "persistence": "p",
        "is_populated": True,
        "of_extension": False,
        "unequal_columns": (),
        "xml_columns": (),
        "firing": (),
        "generated": (),
        "late_constraints": (),
        "slow_changes": 0,
        "hides_rows": False,
        "index_methods": ("btree",),
        "value_bytes": 0,
        **facts,
    }
    others = tuple(TableName("public", other) for other in joined)
    return UserTable(
        table=TableName("public", name),
        bytes=size,
        joined=others,
        **given_facts,  # type: ignore[arg-type]
    )


GOOD = DatabaseFacts(
    system_id=1,
    started_at=NOW,
    database="shop",
    encoding="UTF8",
    collation="C",
    collation_version=None,
    large_objects=0,
    roles=["app"],
    owners=["app"],
    memberships=(),
    md5_roles=(),
    extensions={"plpgsql": "1.0"},
    filled_extensions=(),
    available={"plpgsql": "1.0"},
    tablespaces=["pg_default"],
    used_tablespaces=(),
    database_settings=(),
    event_triggers=(),
    publications=(),
    subscriptions=(),
    prepared=(),
    old_transactions=(),
    unsafe_functions=(),
)
SETTINGS = {
    "wal_level": "logical",
    "max_replication_slots": 10,
    "max_wal_senders": 10,
    "max_logical_replication_workers": 10,
    "max_worker_processes": 20,
    "max_active_replication_origins": 10,
    "statement_timeout": 0,
    "max_slot_wal_keep_size": None,
}


NO_KEY = ReplicaIdentity(
    table=TableName("public", "a"), kind="d", index=None, columns=(), remedy="ALTER TABLE a"
)

NAMES = Names(upgrade="shop")
GROUPS = {"shop_1": ("public.a", "public.b"), "shop_2": ("public.c",)}
JOURNALS = [
    cutover_journal(NAMES, GROUPS, way_back=True),
    cutover_journal(NAMES, GROUPS, way_back=False),
    rollback_journal(NAMES, GROUPS),
]


def following(*, enabled: bool = True, copied: bool = True) -> SubscriptionStatus:
    """A subscription of one table."""
    state = TableState.READY if copied else TableState.DATA_COPY
    return SubscriptionStatus(
        state=subscription_state(subenabled=enabled),
        workers=(),
        tables=(subscribed(state=state),),
        stats=None,
        slot=None,
    )


def side(major: int, system_id: int, changed: dict[str, object] | None) -> Side:
    """One server, with facts that differ from a good one."""
    changed = dict(changed or {})
    version = changed.pop("version", major * 10000 + 20)
    connection_error = changed.pop("connection_error", "")
    connection_sqlstate = changed.pop("connection_sqlstate", None)
    missing = changed.pop("missing", ())
    is_pooled = bool(changed.pop("is_pooled", False))
    leftovers = changed.pop("leftovers", ())
    settings = {**SETTINGS, **changed.pop("settings", {})}  # type: ignore[dict-item]
    facts = attrs.evolve(GOOD, **{"system_id": system_id, **changed})  # type: ignore[arg-type]
    return Side(
        version=ServerVersion(version),  # type: ignore[arg-type]
        settings=settings_of(**settings),
        facts=facts,
        rights=RoleRights(role="mover", is_superuser=not missing, missing=missing),  # type: ignore[arg-type]
        pool=POOL,
        slots=0,
        senders=0,
        leftovers=leftovers,  # type: ignore[arg-type]
        connection_error=connection_error,  # type: ignore[arg-type]
        connection_sqlstate=connection_sqlstate,  # type: ignore[arg-type]
        is_pooled=is_pooled,
    )


def facts_of(
    tables: tuple[UserTable, ...] = (table("a"),),
    old: dict[str, object] | None = None,
    new: dict[str, object] | None = None,
    **more: object,
) -> UpgradeFacts:
    whole: dict[str, object] = {"identities": (), "nonempty": (), "groups": 1, **more}
    return UpgradeFacts(
        old=side(14, 1, old),
        new=side(18, 2, new),
        tables=tables,
        **whole,  # type: ignore[arg-type]
    )


STATUS = UpgradeStatus(
    name="shop",
    phase=UpgradePhase.PREPARED,
    forward=(attrs.evolve(following(), slot=slot_state()),),
    back=(),
    old_is_fenced=False,
    new_is_fenced=True,
)
CUT_OVER = attrs.evolve(
    STATUS, phase=UpgradePhase.CUT_OVER, forward=(following(enabled=False),), back=(following(),)
)
