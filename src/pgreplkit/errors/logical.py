"""Errors of logical replication."""

from __future__ import annotations

from pgreplkit.errors.server import ServerError


class PublicationNotFound(ServerError, LookupError):
    """A publication that does not exist."""

    remedy = "check its name, or create it with create_publication()"


class PublicationGap(PublicationNotFound):
    """Changes that were made while a publication did not exist.

    It was dropped and created again, or created after the slot. The server sends none of the
    changes of its tables that were made in that time, and never will.
    """

    remedy = "copy the rows of its tables again"


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


class UpgradeActive(ServerError):
    """An upgrade that another process is changing, perhaps on another host.

    Attributes:
        node: the server that has the lock of that process: "old" or "new".
        pid: the server's process for it; None if it has ended since.
        client_addr: the address of that process; None for a Unix socket.
        application_name: its application_name.
    """

    remedy = "wait until it has ended, and look at status(); or end that session"

    node: str
    pid: int | None
    client_addr: str | None
    application_name: str | None

    def __init__(
        self,
        operation: str,
        node: str,
        pid: int | None,
        client_addr: str | None,
        application_name: str | None,
    ) -> None:
        found = f"another session of the {node} server runs a plan of the upgrade"
        if pid is not None:
            client = f"{application_name!r} at {client_addr or 'a local socket'}"
            found = f"process {pid} of the {node} server runs a plan of the upgrade, for {client}"
        super().__init__(operation, found, "55006")
        self.node, self.pid = node, pid
        self.client_addr, self.application_name = client_addr, application_name

    def __reduce__(
        self,
    ) -> tuple[type[UpgradeActive], tuple[str, str, int | None, str | None, str | None], object]:
        facts = (self.operation, self.node, self.pid, self.client_addr, self.application_name)
        # A plan adds its finished steps to what was found.
        return UpgradeActive, facts, vars(self)


class LogUnavailable(ServerError):
    """The server's log cannot be read through SQL: the server does not collect it as text."""


class KeyMissing(ServerError):
    """A table without a key that identifies its rows."""

    remedy = "add a primary key, or leave the table out"


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
