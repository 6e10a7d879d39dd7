"""PatroniStatus: the members of a cluster, as Patroni reports them."""

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import attrs

from pgreplkit.errors import NodeNotFound, PatroniError
from pgreplkit.values.lsn import LSN
from pgreplkit.values.openenum import OpenEnum
from pgreplkit.values.record import Record


class PatroniRole(OpenEnum):
    """The role of a member."""

    LEADER = "leader"
    STANDBY_LEADER = "standby_leader"
    REPLICA = "replica"
    SYNC_STANDBY = "sync_standby"
    QUORUM_STANDBY = "quorum_standby"


_WRITES = {PatroniRole.LEADER, PatroniRole.STANDBY_LEADER}


@attrs.frozen(kw_only=True)
class PatroniMember(Record):
    """One member of a Patroni cluster, as Patroni last saw it."""

    name: str
    role: PatroniRole
    state: str
    """The state in Patroni's words: "running", "streaming", "stopped"."""
    host: str | None
    port: int | None
    timeline: int | None
    lag: int | None
    """WAL in bytes that the member lacks; None for a leader, and if unknown."""
    lsn: LSN | None
    """Its position; None for a leader, and with Patroni before 4.1."""
    pending_restart: bool
    tags: Mapping[str, object]


@attrs.frozen(kw_only=True)
class PatroniStatus(Record):
    """The members of a Patroni cluster.

    Source:
        GET /cluster of Patroni's REST API.
    """

    scope: str | None
    """The cluster's name; None with Patroni before 3.1."""
    members: tuple[PatroniMember, ...]
    is_paused: bool
    """Whether Patroni is paused: then it starts no failover by itself."""

    @property
    def leader(self) -> PatroniMember | None:
        """The leader; None if the cluster has none at the moment."""
        # A standby cluster has a leader too, which receives from another cluster.
        return next((member for member in self.members if member.role in _WRITES), None)

    def __getitem__(self, name: str) -> PatroniMember:
        """Return the member of that name.

        Raises:
            NodeNotFound: If there is no such member.
        """
        for member in self.members:
            if member.name == name:
                return member
        raise NodeNotFound(name, tuple(member.name for member in self.members))

    def __iter__(self) -> Iterator[PatroniMember]:
        return iter(self.members)

    def __contains__(self, member: object) -> bool:
        """Return whether a member, or a member of that name, belongs to the cluster."""
        return any(member in (each, each.name) for each in self.members)

    def __len__(self) -> int:
        return len(self.members)


@attrs.frozen(kw_only=True)
class PatroniChange(Record):
    """A change of the leader by Patroni."""

    old_leader: str | None
    new_leader: str
    old_timeline: int | None
    new_timeline: int | None
    elapsed: timedelta
    """Time from the request until Patroni reported that the new leader runs."""


def read_status(text: bytes) -> PatroniStatus:
    """Parse the response to GET /cluster.

    Raises:
        PatroniError: If the response does not describe a cluster.
    """
    try:
        # Fields that a version of Patroni lacks are None; unknown ones are passed over.
        content: Mapping[str, Any] = json.loads(text)
        return PatroniStatus(
            scope=content.get("scope"),
            members=tuple(_member(member) for member in content["members"]),
            is_paused=bool(content.get("pause")),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        # A proxy in front of Patroni may answer with anything.
        found = f"the response does not describe a cluster ({type(error).__name__}: {error})"
        raise PatroniError("read the state of the Patroni cluster", found) from error


def _member(content: Mapping[str, Any]) -> PatroniMember:
    lag, lsn = content.get("lag"), content.get("lsn")
    return PatroniMember(
        name=str(content["name"]),
        role=PatroniRole(content["role"]),
        state=str(content.get("state", "unknown")),
        host=content.get("host"),
        port=content.get("port"),
        timeline=content.get("timeline"),
        # Patroni sends the string "unknown" for a member that it cannot reach.
        lag=lag if isinstance(lag, int) else None,
        lsn=LSN(lsn) if isinstance(lsn, str) and "/" in lsn else None,
        pending_restart=bool(content.get("pending_restart")),
        tags=content.get("tags") or {},
    )
