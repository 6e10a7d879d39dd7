"""The columns to which the differences of changes can be added."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pgreplkit.catalog.logical.applytables import TargetTable

INTEGERS = ("smallint", "integer", "bigint")


def delta_problems(target: TargetTable, names: Sequence[str]) -> Iterator[str]:
    """Yield the reasons why differences cannot be added to columns of a table."""
    for name in names:
        column = target.column(name)
        if column is None:
            yield f"{target.table} has no column {name!r}, to which to add differences"
        elif name in target.primary_key:
            yield f"the column {name!r} is part of the key: differences cannot be added to it"
        elif column.is_generated or column.identity:
            yield f"the column {name!r} is generated: differences cannot be added to it"
        elif not column.not_null:
            yield f"the column {name!r} can be NULL, which has no difference"
        # Sums of other types depend on the order of the additions, or on the digits of the values.
        elif column.type not in INTEGERS and not column.type.startswith("numeric("):
            yield (
                f"the column {name!r} is {column.type}: differences are added to smallint, integer,"
                " bigint and numeric(p, s)"
            )
