"""What psycopg raises, told as errors of our own tree."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors

from pgreplkit.errors import (
    ConnectionFailed,
    InsufficientPrivilege,
    NotAPrimary,
    ServerError,
    SettingNotFound,
    StatementTimeout,
)


@contextmanager
def telling(tried: str, *, role: str | None = None, grant: str = "pg_monitor") -> Iterator[None]:
    """Turn psycopg's errors within into ours, which say what was tried.

    ``grant`` is what allows it to ``role``.
    """
    try:
        yield
    except errors.InsufficientPrivilege:
        raise InsufficientPrivilege(tried, role, grant) from None
    except (errors.QueryCanceled, errors.LockNotAvailable) as error:
        raise StatementTimeout(tried, _said(error), error.sqlstate) from error
    except errors.ObjectNotInPrerequisiteState as error:
        raise NotAPrimary(tried, _said(error), error.sqlstate) from error
    except errors.UndefinedObject as error:
        raise SettingNotFound(tried, _said(error), error.sqlstate) from error
    except psycopg.Error as error:
        operational = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
        # With a code, only those of lost connections and of a server that goes down.
        lost = operational and (error.sqlstate or "08").startswith(("08", "57P"))
        kind = ConnectionFailed if lost else ServerError
        raise kind(tried, _said(error), error.sqlstate) from error


def _said(error: psycopg.Error) -> str:
    return error.diag.message_primary or str(error).strip()
