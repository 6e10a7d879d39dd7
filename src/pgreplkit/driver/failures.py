"""Translation of psycopg's errors into pgreplkit's, by SQLSTATE."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TypeAlias

import psycopg
from psycopg import errors

from pgreplkit.errors import (
    ConnectionFailed,
    InsufficientPrivilege,
    ServerError,
    StatementTimeout,
)

UNDEFINED_OBJECT, DUPLICATE_OBJECT, OBJECT_IN_USE = "42704", "42710", "55006"
NOT_IN_PREREQUISITE_STATE, FEATURE_NOT_SUPPORTED = "55000", "0A000"
UNDEFINED_TABLE, INVALID_COLUMN_REFERENCE = "42P01", "42P10"
PROTOCOL_VIOLATION = "08P01"
READ_ONLY_TRANSACTION, FILE_MISSING = "25006", "58P01"

Meaning: TypeAlias = Mapping[str, type[ServerError]]
"""The error class for an SQLSTATE, for one statement."""


@contextmanager
def translate_errors(
    tried: str,
    *,
    role: str | None = None,
    grant: str = "pg_monitor",
    meaning: Meaning | None = None,
) -> Iterator[None]:
    """Turn psycopg's errors within into ours, which say what was tried.

    ``grant`` is what allows it to ``role``.
    """
    try:
        yield
    except errors.InsufficientPrivilege:
        raise InsufficientPrivilege(tried, role, grant) from None
    except (errors.QueryCanceled, errors.LockNotAvailable) as error:
        raise StatementTimeout(tried, _said(error), error.sqlstate) from error
    except psycopg.Error as error:
        ours = (meaning or {}).get(error.sqlstate or "")
        if ours:
            raise ours(tried, _said(error), error.sqlstate) from error
        operational = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
        # Class 08 stands for lost connections, 57P for a server that shuts down or starts up;
        # libpq's own errors have no code.
        lost = operational and (error.sqlstate or "08").startswith(("08", "57P"))
        kind = ConnectionFailed if lost else ServerError
        raise kind(tried, _said(error), error.sqlstate) from error


def _said(error: psycopg.Error) -> str:
    said = error.diag.message_primary or str(error).strip()
    return f"{said} ({error.diag.message_hint})" if error.diag.message_hint else said
