"""opening: the errors of a connection that is being opened."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from pgreplkit._async._io import to_thread
from pgreplkit.driver.failures import translate_errors
from pgreplkit.driver.refusal import is_of_a_server, lacks_password, refusal
from pgreplkit.errors import ConnectionFailed, LoginRefused
from pgreplkit.errors.server import REFUSED_LOGIN


@asynccontextmanager
async def opening(conninfo: str, operation: str) -> AsyncIterator[None]:
    """Translate the errors of the block, which opens a connection.

    Raises: LoginRefused; ConnectionFailed.
    """
    try:
        with translate_errors(operation):
            yield
    except ConnectionFailed as error:
        cause, sqlstate = error.__cause__, error.sqlstate
        # psycopg has no SQLSTATE of a failed attempt.
        if sqlstate is None and is_of_a_server(cause):
            sqlstate = await to_thread(partial(refusal, conninfo))
        is_refused = sqlstate is not None and sqlstate.startswith(REFUSED_LOGIN)
        if sqlstate is None and not lacks_password(cause):
            raise
        kind = LoginRefused if is_refused or lacks_password(cause) else ConnectionFailed
        raise kind(operation, error.found, sqlstate) from cause
