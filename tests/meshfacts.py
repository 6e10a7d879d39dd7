"""Sample members, nodes and tables of a mesh."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from logicalfacts import RIGHTS
from serverfacts import settings

from pgreplkit.apply import LastUpdateWins
from pgreplkit.catalog.logical.applytables import TargetColumn, TargetTable
from pgreplkit.plans.mesh.facts import MeshFacts, MeshNodeFacts
from pgreplkit.plans.mesh.layout import Members, MemberState, new_members
from pgreplkit.plans.mesh.readiness import mesh_findings
from pgreplkit.values.finding import Finding, Severity
from pgreplkit.values.tablename import TableName

USERS = TableName("public", "users")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def members(*nodes: str) -> Members:
    return new_members(nodes, [18] * len(nodes), MemberState.ACTIVE)


def table(**changed: object) -> TargetTable:
    column = TargetColumn(
        name="id",
        type="integer",
        type_oid=23,
        not_null=True,
        has_default=False,
        is_generated=False,
        identity="",
    )
    facts: dict[str, object] = {"columns": (column,), "keys": (("id",),)}
    return TargetTable(
        table=USERS,
        is_partitioned=False,
        hides_rows=False,
        **{"lacks": (), **facts, **changed},  # type: ignore[arg-type]
    )


def node(name: str, **changed: object) -> MeshNodeFacts:
    facts: dict[str, object] = {
        "name": name,
        "major": 18,
        "system_id": name,
        "started_at": NOW,
        "database": "shop",
        "encoding": "UTF8",
        "in_recovery": False,
        "skew": timedelta(0),
        "slots": 0,
        "foreign_slots": (),
        "senders": 0,
        "origins": 0,
        "settings": settings(
            wal_level="logical",
            track_commit_timestamp="on",
            max_replication_slots=10,
            max_wal_senders=10,
            max_active_replication_origins=10,
        ),
        "tables": {USERS: table()},
        "no_tables": {},
        "with_rows": (),
        "without_full": {},
        "with_large": (USERS,),
        "with_virtual": (),
        "with_foreign_keys": (),
        "children": {},
        "firing": {},
        "sequences": (),
        "hidden": (),
        "members": Members(all=(), ties="rank"),
        "others": {},
        "published": None,
        "owns_tables": True,
        "may_replicate": True,
        "rights": RIGHTS,
    }
    return MeshNodeFacts(**{**facts, **changed})  # type: ignore[arg-type]


def found(*nodes: MeshNodeFacts, **changed: object) -> dict[str, Finding]:
    facts: dict[str, object] = {
        "mesh": "shop",
        "nodes": nodes,
        "first": "a",
        "new": tuple(one.name for one in nodes),
        "policy": LastUpdateWins().converges(nodes=2),
        "policy_text": "LastUpdateWins()",
        "planned": members("a", "b"),
        "max_clock_skew": timedelta(seconds=5),
    }
    findings = mesh_findings(MeshFacts(**{**facts, **changed}))  # type: ignore[arg-type]
    return {finding.check: finding for finding in findings}


def critical(*nodes: MeshNodeFacts, **changed: object) -> set[str]:
    findings = found(*nodes, **changed).values()
    return {one.check for one in findings if one.severity is Severity.CRITICAL}
