"""What keeps logical replication from being set up."""

from __future__ import annotations

from pgreplkit.errors.server import ServerError


class PublicationNotFound(ServerError, LookupError):
    """A publication that is not there."""


class TableNotFound(ServerError, LookupError):
    """A table that is not there, or is none that can be replicated."""


class ExtensionMissing(ServerError):
    """An extension that the database does not have.

    Attributes:
        extension: its name.
    """

    extension: str

    def __init__(self, tried: str, extension: str) -> None:
        super().__init__(tried, f"the database has no extension {extension}")
        self.extension = extension

    def __reduce__(self) -> tuple[type[ExtensionMissing], tuple[str, str]]:
        return ExtensionMissing, (self.tried, self.extension)

    def __str__(self) -> str:
        return (
            f"{super().__str__()}; install its package, add it to shared_preload_libraries,"
            f" restart, and CREATE EXTENSION {self.extension}"
        )


class LogUnavailable(ServerError):
    """The server's log cannot be read by SQL: it collects none, or not as text."""


class KeyMissing(ServerError):
    """A table whose rows cannot be told from each other: it has no key."""


class ReplicaIdentityMissing(ServerError):
    """Tables whose UPDATE or DELETE would fail on the publisher once they are published.

    Attributes:
        remedies: by table, the statement that gives it a replica identity; or what else to do.
    """

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


class SubscriptionNotFound(ServerError, LookupError):
    """A subscription that is not there."""


class PublisherUnreachable(ServerError):
    """The subscriber could not connect to the publisher, or got no answer from it in time."""
