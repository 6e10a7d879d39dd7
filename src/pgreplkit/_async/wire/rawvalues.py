"""execute: a statement whose parameters are values as they were sent."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import generators
from psycopg.pq.abc import PGresult

from pgreplkit._async.wire.link import AsyncLink
from pgreplkit.driver.results import raise_failure
from pgreplkit.driver.watchdog import watched
from pgreplkit.protocol.pgoutput.tuples import BINARY, Octets


async def execute(
    link: AsyncLink,
    text: str,
    values: Sequence[Octets] = (),
    formats: Sequence[int] = (),
    types: Sequence[int] = (),
) -> PGresult:
    """Execute one statement; return its result, in binary.

    Raises: psycopg's errors; ConnectionTimeout if the path falls silent.
    """
    connection = link.connection
    encoding = connection.info.encoding
    connection.pgconn.send_query_params(
        text.encode(encoding),
        values,
        param_types=types or None,
        param_formats=formats,
        result_format=BINARY,
    )
    with watched(connection, link.conninfo_for_another):
        results: list[PGresult] = await connection.wait(generators.execute(connection.pgconn))
    raise_failure(results, encoding)
    return results[-1]
