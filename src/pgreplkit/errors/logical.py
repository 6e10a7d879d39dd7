"""Errors of logical replication."""

from __future__ import annotations

from pgreplkit.errors.server import ServerError


class PublicationNotFound(ServerError, LookupError):
    """A publication that does not exist."""


class TableNotFound(ServerError, LookupError):
    """A table that does not exist, or cannot be replicated."""


class ExtensionMissing(ServerError):
    """An extension that is not installed in the database.

    Attributes:
        extension: the extension's name.
    """

    extension: str

    def __init__(self, operation: str, extension: str) -> None:
        super().__init__(operation, f"the database has no extension {extension}")
        self.extension = extension
        self.remedy: str = (
            "install its package, add it to shared_preload_libraries, restart,"
            f" and CREATE EXTENSION {extension}"
        )

    def __reduce__(self) -> tuple[type[ExtensionMissing], tuple[str, str]]:
        return ExtensionMissing, (self.operation, self.extension)


class LogUnavailable(ServerError):
    """The server's log cannot be read through SQL: the server does not collect it as text."""


class KeyMissing(ServerError):
    """A table without a key that identifies its rows."""


class ReplicaIdentityMissing(ServerError):
    """Tables whose UPDATE or DELETE would fail on the publisher once they are published.

    Attributes:
        remedies: by table, the statement that sets a replica identity, or another remedy.
    """

    remedies: dict[str, str]

    def __init__(self, operation: str, remedies: dict[str, str]) -> None:
        which = ", ".join([*remedies][:5]) + (", …" if len(remedies) > 5 else "")
        super().__init__(operation, f"UPDATE or DELETE would then fail in {which}", "55000")
        self.remedies = remedies
        first = "; ".join([*remedies.values()][:5])
        self.remedy: str = (
            f"nothing is changed; first {first}; or publish inserts only;"
            " or publish them anyway with force=True"
        )

    def __reduce__(self) -> tuple[type[ReplicaIdentityMissing], tuple[str, dict[str, str]]]:
        return ReplicaIdentityMissing, (self.operation, self.remedies)


class SubscriptionNotFound(ServerError, LookupError):
    """A subscription that does not exist."""


class PublisherUnreachable(ServerError):
    """The subscriber could not connect to the publisher, or got no answer from it in time."""
