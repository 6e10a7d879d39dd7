# Generated from pgreplkit/_async/cluster/upgradefences.py by `nox -s sync`. Do not edit.
"""Read what writes in spite of the fences of an upgrade."""

from __future__ import annotations

from collections.abc import Iterable

from pgreplkit._sync.primary import Primary
from pgreplkit._sync.wire.link import Link
from pgreplkit.catalog.cluster.upgrade import UNFENCED, UNFENCED_ROLES, WRITING_EVENT_TRIGGERS
from pgreplkit.catalog.view import table_in
from pgreplkit.plans.cluster.upgrade import Names
from pgreplkit.values.tablename import TableName, quoted


def read_others(server: Primary, names: Names) -> list[str]:
    """Return the enabled subscriptions that are not of the upgrade: a fence lets them write."""
    enabled = [one.name for one in server.subscriptions() if one.state.subenabled]
    own = names.own_in(enabled)
    return [name for name in enabled if name not in own]


def read_writing_triggers(**servers: Primary) -> list[str]:
    """Return the enabled event triggers that write to tables, with the server that has them."""
    return [
        f"{record['name']} on the {node} server"
        for node, server in servers.items()
        for record in server._link.all("read the event triggers", WRITING_EVENT_TRIGGERS)
    ]


def read_unfenced_roles(**servers: Primary) -> list[str]:
    """Return statements for settings with which sessions do not fire the triggers of a fence."""
    return [
        f"{record['statement']} on the {node} server"
        for node, server in servers.items()
        for record in server._link.all("read the settings of roles", UNFENCED_ROLES)
    ]


def read_unfenced(link: Link, names: Iterable[str], fence: str = "") -> list[TableName]:
    """Return the tables that do not refuse writes: of publications, subscriptions and a fence.

    ``names`` are those of the publications, or of the subscriptions, of the upgrade.
    """
    asked = [[*names], quoted(fence) if fence else None]
    return [table_in(record) for record in link.all("read the write fence", UNFENCED, asked)]
