# Generated from pgreplkit/_async/wire/rawvalues.py by `nox -s sync`. Do not edit.
"""Statements whose parameters are values as they were sent."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import NotSupportedError, ProgrammingError, generators
from psycopg.pq.abc import PGresult

from pgreplkit._sync.wire.link import Link
from pgreplkit.driver.failures import without_values
from pgreplkit.driver.results import raise_failure
from pgreplkit.driver.watchdog import watched
from pgreplkit.protocol.pgoutput.tuples import BINARY, Octets

_AT_ONCE = 1000
"""Values of one statement, whose result can have 1,664 columns."""


def execute(
    link: Link,
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
    return _result(link)


def read_texts(
    link: Link,
    values: Sequence[Octets],
    formats: Sequence[int],
    types: Sequence[int],
) -> list[str | None]:
    """Return values as the server writes them; ``types`` are those of the binary ones.

    Raises: psycopg's errors; ConnectionTimeout if the path falls silent.
    """
    # A text is shown as it was sent: the server may have refused it.
    asked = [place for place, how in enumerate(formats) if how == BINARY]
    texts = [text_of(value) for value in values]
    for start in range(0, len(asked), _AT_ONCE):
        some = asked[start : start + _AT_ONCE]
        columns = ", ".join(f"${number}::text" for number in range(1, len(some) + 1))
        result = execute(
            link,
            f"SELECT {columns}",
            [values[place] for place in some],
            [BINARY] * len(some),
            [types[place] for place in some],
        )
        for column, place in enumerate(some):
            texts[place] = text_of(result.get_value(0, column))
    return texts


def find_problem(link: Link, text: str, types: Sequence[int] = ()) -> str | None:
    """Return why the server cannot prepare a statement, as without its table; None if it can.

    Raises: psycopg's errors; ConnectionTimeout if the path falls silent.
    """
    try:
        # The transaction goes on.
        with link.in_transaction():
            encoding = link.connection.info.encoding
            link.connection.pgconn.send_prepare(b"", text.encode(encoding), types or None)
            _result(link)
    except (ProgrammingError, NotSupportedError) as error:
        return str(without_values(error))
    return None


def _result(link: Link) -> PGresult:
    connection = link.connection
    with watched(connection, link.conninfo_for_another):
        results: list[PGresult] = connection.wait(generators.execute(connection.pgconn))
    raise_failure(results, connection.info.encoding)
    return results[-1]


def text_of(value: Octets) -> str | None:
    """Return a value that was sent as a text."""
    # A database without an encoding has texts of any bytes.
    return None if value is None else value.decode("utf-8", "backslashreplace")
