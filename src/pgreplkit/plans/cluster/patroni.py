"""PatroniStatus: what Patroni says of its cluster."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import attrs

from pgreplkit.errors import PatroniError
from pgreplkit.values.lsn import LSN
from pgreplkit.values.openenum import OpenEnum


class PatroniRole(OpenEnum):
    """What a member is."""

    LEADER = "leader"
    STANDBY_LEADER = "standby_leader"
    REPLICA = "replica"
    SYNC_STANDBY = "sync_standby"
    QUORUM_STANDBY = "quorum_standby"


_WRITES = {PatroniRole.LEADER, PatroniRole.STANDBY_LEADER}


@attrs.frozen(kw_only=True)
class PatroniMember:
    """One member of a Patroni cluster, as Patroni last heard of it."""

    name: str
    role: PatroniRole
    state: str
    """As in "running", "streaming" or "stopped"."""
    host: str | None
    port: int | None
    timeline: int | None
    lag: int | None
    """Bytes that its leader has and it has not; None for a leader, and where it is not known."""
    lsn: LSN | None
    """Where it is; None for a leader, and of Patroni before 4.1."""
    pending_restart: bool
    tags: Mapping[str, object]


@attrs.frozen(kw_only=True)
class PatroniStatus:
    """The members of a Patroni cluster.

    Source: GET /cluster of Patroni's REST API.
    """

    scope: str | None
    """The cluster's name; None of Patroni before 3.1."""
    members: tuple[PatroniMember, ...]
    is_paused: bool
    """Whether Patroni keeps its hands off: then nothing fails over by itself."""

    @property
    def leader(self) -> PatroniMember | None:
        """The member that leads; None when there is none at the moment."""
        return next((member for member in self.members if member.role in _WRITES), None)

    def __getitem__(self, name: str) -> PatroniMember:
        for member in self.members:
            if member.name == name:
                return member
        raise KeyError(name)


@attrs.frozen(kw_only=True)
class PatroniChange:
    """A change of the leader that Patroni carried out."""

    old_leader: str | None
    new_leader: str
    old_timeline: int | None
    new_timeline: int | None
    elapsed: timedelta
    """From the request until Patroni said that the new leader runs."""


def read_status(text: bytes) -> PatroniStatus:
    """What the answer to GET /cluster says.

    Raises: PatroniError when it is none.
    """
    try:
        told: Mapping[str, Any] = json.loads(text)
        return PatroniStatus(
            scope=told.get("scope"),
            members=tuple(_member(member) for member in told["members"]),
            is_paused=bool(told.get("pause")),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        found = f"the answer is not Patroni's: {type(error).__name__}: {error}"
        raise PatroniError("read Patroni's cluster", found) from error


def _member(told: Mapping[str, Any]) -> PatroniMember:
    lag, lsn = told.get("lag"), told.get("lsn")
    return PatroniMember(
        name=str(told["name"]),
        role=PatroniRole(told["role"]),
        state=str(told.get("state", "unknown")),
        host=told.get("host"),
        port=told.get("port"),
        timeline=told.get("timeline"),
        # Both may be the text "unknown".
        lag=lag if isinstance(lag, int) else None,
        lsn=LSN(lsn) if isinstance(lsn, str) and "/" in lsn else None,
        pending_restart=bool(told.get("pending_restart")),
        tags=told.get("tags") or {},
    )
