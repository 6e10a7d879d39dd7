# Generated from pgreplkit/_async/logical/keytexts.py by `nox -s sync`. Do not edit.
"""read_key_texts: the keys of rows as texts, for the log of conflicts."""

from __future__ import annotations

from collections.abc import Sequence

from pgreplkit._sync.wire.link import Link
from pgreplkit._sync.wire.rawvalues import execute, text_of
from pgreplkit.apply.tableplans import Step
from pgreplkit.catalog.logical.compare import QUALIFIED_OUTPUT
from pgreplkit.protocol.pgoutput.tuples import Octets

_AT_ONCE = 1000
"""Values of one statement, whose result can have 1,664 columns."""


def read_key_texts(link: Link, steps: Sequence[Step]) -> list[dict[str, str | None]]:
    """Return the columns that identify the row of each step, as the subscriber writes them.

    They are the texts of a comparison, also of values that were sent in binary.
    """
    operation, texts = "read the keys of conflicts", list[str | None]()
    values = [
        (given[place], formats[place], type_name)
        for statement, given, formats in steps
        for _, place, type_name in statement.key
    ]
    with link.transaction(operation, timeout=60.0, hides_values=True) as within:
        within.all(operation, QUALIFIED_OUTPUT)
        for start in range(0, len(values), _AT_ONCE):
            texts += _texts(within, values[start : start + _AT_ONCE])
    written = iter(texts)
    return [{name: next(written) for name, _, _ in statement.key} for statement, _, _ in steps]


def _texts(link: Link, values: Sequence[tuple[Octets, int, str]]) -> list[str | None]:
    """Return the texts of values, each with its format and the name of its type."""
    casts = [f"${number}::{name}::text" for number, (_, _, name) in enumerate(values, 1)]
    given, formats = [value for value, _, _ in values], [how for _, how, _ in values]
    result = execute(link, f"SELECT {', '.join(casts)}", given, formats)
    return [text_of(result.get_value(0, column)) for column in range(result.nfields)]
