"""Translation of psycopg's errors into pgreplkit's, by SQLSTATE."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import psycopg
from psycopg import BaseConnection, errors

from pgreplkit.driver.encodings import role_of
from pgreplkit.errors import (
    ConnectionFailed,
    InsufficientPrivilege,
    ServerError,
    StatementTimeout,
)
from pgreplkit.errors.server import LOST_SESSION, PROTOCOL_VIOLATION

if TYPE_CHECKING:
    from pgreplkit.values.tablename import TableName

UNDEFINED_OBJECT, DUPLICATE_OBJECT, OBJECT_IN_USE = "42704", "42710", "55006"
NOT_IN_PREREQUISITE_STATE, FEATURE_NOT_SUPPORTED = "55000", "0A000"
UNDEFINED_TABLE, INVALID_COLUMN_REFERENCE = "42P01", "42P10"
UNDEFINED_FUNCTION, UNDEFINED_SCHEMA = "42883", "3F000"
READ_ONLY_TRANSACTION, FILE_MISSING, DUPLICATE_SCHEMA = "25006", "58P01", "42P06"
DEADLOCK_DETECTED = "40P01"

_FILE_ACCESS = {
    *("read_binary_file", "read_text_file", "pg_stat_file", "sendFile", "SendTimeLineHistory"),
    *("WalSndSegmentOpen", "wal_segment_open", "CreateSlotOnDisk", "SaveSlotToPath"),
}
"""Functions of the server that report 42501 only if the operating system denies access."""

_SYNTAX_ERROR = "42601"
"""Also of a text that is no tsvector, tsquery or hstore."""
_QUOTED = re.compile("[\"'«‹„“‚‘「『].*[\"'»›“”‘’」』]", re.DOTALL)
"""From the first quote to the last one, since a value may have quotes; each language has its own.
"""

Meaning: TypeAlias = Mapping[str, type[ServerError]]
"""The error class for an SQLSTATE, for one statement."""
E = TypeVar("E", bound=BaseException)


@contextmanager
def translate_errors(
    operation: str,
    *,
    connection: BaseConnection[object] | None = None,
    grant: str = "pg_monitor",
    meaning: Meaning | None = None,
    hides_values: bool = False,
) -> Iterator[None]:
    """Translate psycopg's errors in the block into pgreplkit's.

    ``grant`` is the privilege that the role of ``connection`` needs for the operation. With
    ``hides_values``, neither the errors nor their tracebacks have values of rows.
    """

    def message_of(error: psycopg.Error) -> str:
        return str(without_values(error)) if hides_values else _message_of(error)

    try:
        yield
    except errors.InsufficientPrivilege as error:
        role, is_superuser = _role(connection)
        # The server reports EACCES and EPERM of the operating system with the same SQLSTATE. A
        # superuser passes every check of privileges.
        needed = "" if is_superuser or _is_file_access(error) else grant
        found = message_of(error)
        if not hides_values and error.diag.message_detail:
            found += f"; {error.diag.message_detail}"
        raise InsufficientPrivilege(operation, role, needed, found) from error
    except (errors.QueryCanceled, errors.LockNotAvailable) as error:
        raise StatementTimeout(operation, message_of(error), error.sqlstate) from error
    except psycopg.Error as error:
        ours = (meaning or {}).get(error.sqlstate or "")
        if ours:
            raise ours(operation, message_of(error), error.sqlstate) from error
        operational = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
        # libpq's own errors have no code.
        lost = operational and (error.sqlstate or LOST_SESSION[0]).startswith(LOST_SESSION)
        # A statement that breaks the protocol, by a wrong number of parameters or a malformed
        # value, does not end the session; a pooler that refuses a connection does.
        if error.sqlstate == PROTOCOL_VIOLATION and error.diag.severity_nonlocalized == "ERROR":
            lost = False
        kind = ConnectionFailed if lost else ServerError
        raise kind(operation, message_of(error), error.sqlstate) from error


def _role(connection: BaseConnection[object] | None) -> tuple[str | None, bool]:
    """Return the connection's role, and True if it is a superuser; None if it is unknown."""
    if connection is None or connection.closed:
        return None, False
    # The server reports is_superuser at the start of a session and after SET ROLE.
    return role_of(connection), connection.info.parameter_status("is_superuser") == "on"


def _is_file_access(error: psycopg.Error) -> bool:
    """Return True if the operating system denied the server access to a file or directory."""
    source = PurePosixPath(error.diag.source_file or "").name
    return source == "fd.c" or error.diag.source_function in _FILE_ACCESS


def read_grant(table: TableName) -> str:
    """Return the privileges that reading a table needs: the SQLSTATE does not say which is missing.

    >>> read_grant(TableName("sales", "orders"))
    'USAGE ON SCHEMA sales; SELECT ON sales.orders'
    """
    return f"{schema_grant([table])}; SELECT ON {table}"


def schema_grant(tables: Iterable[TableName]) -> str:
    """Return the privilege that using the schemas of tables or sequences needs.

    Administrators revoke it from the schema public as well.

    >>> schema_grant([TableName("sales", "orders"), TableName("Eu", "orders")])
    'USAGE ON SCHEMA "Eu", sales'
    """
    return f"USAGE ON SCHEMA {schema_list(tables)}"


def schema_list(tables: Iterable[TableName]) -> str:
    """Return the schemas of tables or sequences, as SQL."""
    # A first connect does without tables.
    from pgreplkit.values.tablename import quoted

    schemas = sorted({table.schema for table in tables})
    return ", ".join(quoted(schema) for schema in schemas)


def source_function(error: ServerError) -> str:
    """Return the function of the server that raised an error; empty if it is unknown.

    Unlike the message, it is never translated.
    """
    cause = error.__cause__
    return (cause.diag.source_function or "") if isinstance(cause, psycopg.Error) else ""


def without_values(error: E) -> E:
    """Take values of rows out of the texts of an error and of all errors behind it; return it.

    A traceback prints them, and ends in a log. ``diag`` keeps the values for those who ask.
    """
    # By identity: an error of the user's own class need not be hashable.
    known, following = set[int](), list[BaseException | None]([error])
    while following:
        one = following.pop()
        if one is None or id(one) in known:
            continue
        known.add(id(one))
        following += [one.__cause__, one.__context__]
        if isinstance(one, psycopg.Error):
            one.args = (_message_without_values(one),)
    return error


def _message_without_values(error: psycopg.Error) -> str:
    """Return the server's message without values of rows.

    Its detail and its context have them, and so have the messages about data, in quotes.
    """
    message = _message_of(error)
    if isinstance(error, psycopg.DataError) or error.sqlstate == _SYNTAX_ERROR:
        return _QUOTED.sub(_hidden, message)
    return message


def _hidden(quoted: re.Match[str]) -> str:
    # A first connect does without it.
    from pgreplkit.apply.deltas import NAN_FOUND

    text = quoted.group()
    return text if text[1:-1] == NAN_FOUND else '"…"'


def whole_message(error: psycopg.Error) -> str:
    """Return the server's message with its detail, which may contain values of a row."""
    diag = error.diag
    return "; ".join(filter(None, [diag.message_primary, diag.message_detail])) or str(error)


def _message_of(error: psycopg.Error) -> str:
    message = error.diag.message_primary or str(error).strip()
    hint = error.diag.message_hint
    return f"{message} ({hint})" if hint else message
