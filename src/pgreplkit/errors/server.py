"""Errors reported by a server, or about it."""

from __future__ import annotations

from pgreplkit._text import quote_identifier
from pgreplkit.errors.base import Error, OperationError

INSUFFICIENT_PRIVILEGE = "42501"
PROTOCOL_VIOLATION = "08P01"
"""An error of the session's own statement; a pooler gives it to every connection that it refuses.
It stays until something is altered, unless the connection is lost with it."""
REFUSED_LOGIN = ("28", "3D000", INSUFFICIENT_PRIVILEGE)
"""An invalid role or password, or no line of pg_hba.conf; no such database; no right to connect to
it, or to replicate."""
LOST_SESSION = ("08", "57P")
"""Classes of errors: the connection is lost, or the server shuts down or starts up."""


class ServerError(OperationError):
    """An operation that a server refused, or could not complete.

    Attributes:
        operation: the operation, as a verb and its object.
        found: the server's own message, or what was found instead.
        sqlstate: the server's error code; None where the server reported no error.
        remedy: what to do about it; empty where that depends on the reason.
    """

    sqlstate: str | None

    def __init__(
        self, operation: str, found: str, sqlstate: str | None = None, *, remedy: str = ""
    ) -> None:
        super().__init__(operation, found, remedy=remedy)
        self.args: tuple[object, ...] = (operation, found, sqlstate)
        self.sqlstate = sqlstate
        if sqlstate:
            self._code = f" (SQLSTATE {sqlstate})"


class ConnectionFailed(ServerError):
    """The server could not be reached, or the connection to it was lost."""


class LoginRefused(ConnectionFailed):
    """A server that refuses the role, its password or the database of a connection.

    Another attempt fails, too, until the connection string or the server is altered.
    """

    remedy = (
        "correct the role, the password or the database of the connection string, or on the server"
        " the role, its privileges or pg_hba.conf"
    )


class StatementTimeout(ServerError):
    """A statement ran longer than statement_timeout or lock_timeout, or was cancelled."""


class NotAPrimary(ServerError):
    """The server is a standby (it is in recovery), and the operation needs a primary."""

    remedy = "connect to its primary, or use Standby for this server"


class NotAStandby(ServerError):
    """The server is a primary (it is not in recovery), and the operation needs a standby."""

    remedy = "use Primary for this server"


class UnsupportedByServer(ServerError):
    """A feature that the server's major version does not have.

    Attributes:
        feature: the feature.
        since: the first major version that has it.
        version: the server's version.
        until: the last major version that has it; None if later ones have it too.
    """

    feature: str
    since: int
    version: str
    until: int | None

    def __init__(self, feature: str, since: int, version: str, until: int | None = None) -> None:
        needed = since if until is None else f"{since} to {until}"
        super().__init__(f"use {feature}", f"it needs PostgreSQL {needed}, this is {version}")
        self.feature, self.since, self.version, self.until = feature, since, version, until

    def __reduce__(self) -> tuple[type[UnsupportedByServer], tuple[str, int, str, int | None]]:
        return UnsupportedByServer, (self.feature, self.since, self.version, self.until)


_MONITOR, _DENIED = "pg_monitor", "permission denied"
_OWNERSHIP = "ownership of "
_ATTRIBUTES = {"BYPASSRLS", "CREATEROLE", "REPLICATION", "SUPERUSER"}
"""Attributes of a role, which ALTER ROLE sets; everything else is granted."""


class InsufficientPrivilege(ServerError):
    """The role lacks a privilege, or the operating system denied the server access to a file.

    The server reports both with SQLSTATE 42501.

    Attributes:
        role: the role; None if it is unknown.
        grant: the role or privilege to grant to it, or attributes of a role such as REPLICATION;
            several are separated by '; '. "ownership of …" if only the owner may. Empty if no
            privilege of the role is missing.
    """

    role: str | None
    grant: str

    def __init__(self, operation: str, role: str | None, grant: str, found: str = _DENIED) -> None:
        super().__init__(operation, found, INSUFFICIENT_PRIVILEGE)
        self.role, self.grant = role, grant
        self.remedy: str
        name = quote_identifier(role) if role else "the role"
        if not grant:
            self.remedy = (
                "no privilege of the role is missing: if the message names a file or directory,"
                " check its permissions for the operating-system account of the server; otherwise"
                " the server permits this to no one"
            )
            return
        if grant.startswith(_OWNERSHIP):
            # No GRANT gives it: the owner is a role.
            owned = grant.removeprefix(_OWNERSHIP)
            self.remedy = f"connect as the owner of {owned}, or GRANT that role TO {name}"
            return
        if {*grant.split()} <= _ATTRIBUTES:
            statements = f"ALTER ROLE {name} {grant}"
        else:
            statements = "; ".join(f"GRANT {one} TO {name}" for one in grant.split("; "))
        self.remedy = f"to allow it: {statements}"
        if grant == _MONITOR and found != _DENIED:
            # Its functions can be revoked from it, and the message is in the server's language.
            self.remedy += (
                f"; if {name} has it already, GRANT to pg_monitor what the message names,"
                " such as EXECUTE on a function"
            )

    def __reduce__(self) -> tuple[type[InsufficientPrivilege], tuple[str, str | None, str, str]]:
        return InsufficientPrivilege, (self.operation, self.role, self.grant, self.found)


class SettingNotFound(ServerError, LookupError):
    """A setting that the server does not know."""


class SlotNotFound(ServerError, LookupError):
    """A replication slot that does not exist, or no longer exists."""


class SlotLost(ServerError):
    """A slot whose WAL was removed, or that the server invalidated: it can only be dropped."""


class SlotActive(ServerError):
    """A slot that another process is using.

    Attributes:
        slot: the slot's name.
        pid: the process that uses the slot; None if it has released it since.
        client_addr: the address of that process's client; None for a Unix socket.
        application_name: the application_name of that client.
    """

    remedy = "stop that client first, or drop(force=True) ends the process"

    slot: str
    pid: int | None
    client_addr: str | None
    application_name: str | None

    def __init__(
        self,
        operation: str,
        slot: str,
        pid: int | None,
        client_addr: str | None,
        application_name: str | None,
    ) -> None:
        user = f"{application_name!r} at {client_addr or 'a local socket'}"
        super().__init__(operation, f"slot {slot!r} is used by process {pid}, for {user}", "55006")
        self.slot, self.pid = slot, pid
        self.client_addr, self.application_name = client_addr, application_name

    def __reduce__(
        self,
    ) -> tuple[type[SlotActive], tuple[str, str, int | None, str | None, str | None]]:
        facts = (self.operation, self.slot, self.pid, self.client_addr, self.application_name)
        return SlotActive, facts


class AlreadyExists(ServerError):
    """An object of that name already exists."""

    remedy = "choose another name"


class RoleNotFound(ServerError, LookupError):
    """A role that does not exist."""

    remedy = "check its name, or create it with CREATE ROLE"


class QuorumUnreachable(ServerError):
    """A synchronous_standby_names that too few connected standbys match, so commits would wait.

    Attributes:
        names: the refused value, as text.
        connected: the application names of the receivers that stream and report what they flushed.
        unreplaying: those that cannot confirm with synchronous_commit = remote_apply, because
            they never replay.
    """

    remedy = (
        "every commit would wait until more standbys connect; connect them first,"
        " or set it anyway with force=True"
    )

    names: str
    connected: tuple[str, ...]
    unreplaying: tuple[str, ...]

    def __init__(
        self, names: str, connected: tuple[str, ...], unreplaying: tuple[str, ...] = ()
    ) -> None:
        found = f"the standbys that can confirm are: {', '.join(connected) or 'none'}"
        if unreplaying:
            found += (
                f"; with synchronous_commit = remote_apply, {', '.join(unreplaying)} cannot,"
                " because it never replays"
            )
        super().__init__(f"set synchronous_standby_names to {names!r}", found)
        self.names, self.connected, self.unreplaying = names, connected, unreplaying

    def __reduce__(
        self,
    ) -> tuple[type[QuorumUnreachable], tuple[str, tuple[str, ...], tuple[str, ...]]]:
        return QuorumUnreachable, (self.names, self.connected, self.unreplaying)


class WaitTimeout(Error, TimeoutError):
    """A wait that reached its timeout; the text says what was awaited and how far it got."""
