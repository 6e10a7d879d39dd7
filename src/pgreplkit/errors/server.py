"""What a server answered when it could not do what was asked."""

from __future__ import annotations

from pgreplkit.errors.base import Error


class ServerError(Error):
    """What a server answered when it could not do what was asked.

    Attributes:
        tried: what was asked of it.
        found: what came back.
        sqlstate: the server's code for it, where it gave one.
    """

    tried: str
    found: str
    sqlstate: str | None

    def __init__(self, tried: str, found: str, sqlstate: str | None = None) -> None:
        super().__init__(tried, found, sqlstate)
        self.tried, self.found, self.sqlstate = tried, found, sqlstate

    def __str__(self) -> str:
        code = f" (SQLSTATE {self.sqlstate})" if self.sqlstate else ""
        return f"{self.tried}: {self.found}{code}"


class ConnectionFailed(ServerError):
    """The server could not be reached, or the connection to it was lost."""


class StatementTimeout(ServerError):
    """A statement ran longer than statement_timeout or lock_timeout, or was cancelled."""


class NotAPrimary(ServerError):
    """A primary was asked for; this server is a standby (it is in recovery)."""

    def __str__(self) -> str:
        return f"{super().__str__()}; connect to its primary, or use Standby for this server"


class NotAStandby(ServerError):
    """A standby was asked for; this server is a primary (it is not in recovery)."""

    def __str__(self) -> str:
        return f"{super().__str__()}; use Primary for this server"


class UnsupportedByServer(ServerError):
    """A feature that the server's major does not have.

    Attributes:
        feature: what was asked for.
        since: the first major that has it.
        version: the version that was met.
        until: the last major that has it, where later ones lack it again.
    """

    feature: str
    since: int
    version: str
    until: int | None

    def __init__(self, feature: str, since: int, version: str, until: int | None = None) -> None:
        needed = since if until is None else f"{since} to {until}"
        super().__init__(feature, f"needs PostgreSQL {needed}, this is {version}")
        self.feature, self.since, self.version, self.until = feature, since, version, until

    def __reduce__(self) -> tuple[type[UnsupportedByServer], tuple[str, int, str, int | None]]:
        return UnsupportedByServer, (self.feature, self.since, self.version, self.until)


_ATTRIBUTES = {"BYPASSRLS", "CREATEROLE", "REPLICATION", "SUPERUSER"}
"""What ALTER ROLE gives, and not GRANT."""


class InsufficientPrivilege(ServerError):
    """The role may not see or do this.

    Attributes:
        role: the role that asked, where it is known.
        grant: the role or privilege to grant to it, or attributes of a role such as REPLICATION;
            several are separated by '; '.
    """

    role: str | None
    grant: str

    def __init__(
        self, tried: str, role: str | None, grant: str, found: str = "permission denied"
    ) -> None:
        super().__init__(tried, found, "42501")
        self.role, self.grant = role, grant

    def __reduce__(self) -> tuple[type[InsufficientPrivilege], tuple[str, str | None, str, str]]:
        return InsufficientPrivilege, (self.tried, self.role, self.grant, self.found)

    def __str__(self) -> str:
        name = '"' + self.role.replace('"', '""') + '"' if self.role else "the role"
        if {*self.grant.split()} <= _ATTRIBUTES:
            return f"{super().__str__()}; to allow it: ALTER ROLE {name} {self.grant}"
        grants = "; ".join(f"GRANT {grant} TO {name}" for grant in self.grant.split("; "))
        return f"{super().__str__()}; to allow it: {grants}"


class SettingNotFound(ServerError, LookupError):
    """A setting that the server's major does not know."""


class SlotNotFound(ServerError, LookupError):
    """A replication slot that is not there, or not there any more."""


class SlotLost(ServerError):
    """A slot whose WAL is gone, or that the server invalidated: it can only be dropped."""


class SlotActive(ServerError):
    """A slot that another process is using.

    Attributes:
        slot: its name.
        pid: the process that uses it; None when it was let go meanwhile.
        client_addr: from where that process is used; None for a Unix socket.
        application_name: what its client calls itself.
    """

    slot: str
    pid: int | None
    client_addr: str | None
    application_name: str | None

    def __init__(
        self,
        tried: str,
        slot: str,
        pid: int | None,
        client_addr: str | None,
        application_name: str | None,
    ) -> None:
        user = f"{application_name!r} at {client_addr or 'a local socket'}"
        super().__init__(tried, f"slot {slot!r} is used by process {pid}, for {user}", "55006")
        self.slot, self.pid = slot, pid
        self.client_addr, self.application_name = client_addr, application_name

    def __reduce__(
        self,
    ) -> tuple[type[SlotActive], tuple[str, str, int | None, str | None, str | None]]:
        facts = (self.tried, self.slot, self.pid, self.client_addr, self.application_name)
        return SlotActive, facts

    def __str__(self) -> str:
        return f"{super().__str__()}; stop that client first, or drop(force=True) ends the process"


class AlreadyExists(ServerError):
    """A slot or a role of that name is there already."""


class RoleNotFound(ServerError, LookupError):
    """A role that is not there."""


class QuorumUnreachable(ServerError):
    """A synchronous_standby_names that would make every commit wait, because standbys are missing.

    Attributes:
        names: the value that was refused, as text.
        connected: the application names of the standbys that are connected.
    """

    names: str
    connected: tuple[str, ...]

    def __init__(self, names: str, connected: tuple[str, ...]) -> None:
        there = ", ".join(connected) or "no standby"
        super().__init__(f"set synchronous_standby_names to {names!r}", f"connected is {there}")
        self.names, self.connected = names, connected

    def __reduce__(self) -> tuple[type[QuorumUnreachable], tuple[str, tuple[str, ...]]]:
        return QuorumUnreachable, (self.names, self.connected)

    def __str__(self) -> str:
        return (
            f"{super().__str__()}: every commit would wait until more connect;"
            " connect them first, or force=True sets it nevertheless"
        )


class WaitTimeout(Error, TimeoutError):
    """Something did not happen in time; the text says what, and how far it got."""
