"""What keeps logical replication from being set up."""

from __future__ import annotations

from pgreplkit.errors.server import ServerError


class PublicationNotFound(ServerError, LookupError):
    """A publication that is not there."""

    __module__ = "pgreplkit"


class TableNotFound(ServerError, LookupError):
    """A table that is not there, or is none that can be replicated."""

    __module__ = "pgreplkit"


class ReplicaIdentityMissing(ServerError):
    """Tables whose UPDATE or DELETE would fail on the publisher once they are published.

    Attributes:
        remedies: by table, the statement that gives it a replica identity; or what else to do.
    """

    __module__ = "pgreplkit"

    remedies: dict[str, str]

    def __init__(self, tried: str, remedies: dict[str, str]) -> None:
        which = ", ".join([*remedies][:5]) + (", …" if len(remedies) > 5 else "")
        super().__init__(tried, f"UPDATE or DELETE would fail from then on in {which}", "55000")
        self.remedies = remedies

    def __reduce__(self) -> tuple[type[ReplicaIdentityMissing], tuple[str, dict[str, str]]]:
        return ReplicaIdentityMissing, (self.tried, self.remedies)

    def __str__(self) -> str:
        first = "; ".join([*self.remedies.values()][:5])
        return (
            f"{super().__str__()}, so nothing is changed; to make it right: {first};"
            " or publish inserts only; or force=True publishes them nevertheless"
        )
