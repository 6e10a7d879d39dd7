"""Row filters and column lists: statements that show whether UPDATE or DELETE would fail."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs

from pgreplkit.catalog.logical.publication import PublicationState
from pgreplkit.values.tablename import TableName


@attrs.frozen(kw_only=True)
class FilterTrial:
    """A statement that the server refuses if the row filter or column list of a table is wrong.

    An UPDATE or DELETE is published by the columns of the replica identity. So the server refuses
    both on a table whose row filter uses other columns, or whose column list lacks one of these.
    It checks that when it plans the statement, and only it knows the columns of a filter's
    expression: EXPLAIN asks it without reading or changing a row.
    """

    table: TableName
    column: str | None
    """The column that an UPDATE sets; None for a DELETE."""

    @property
    def privilege(self) -> str:
        """The privilege that the statement needs."""
        return f"{'UPDATE' if self.column else 'DELETE'} ON {self.table}"

    @property
    def remedy(self) -> str:
        """What to change if the server refuses the statement."""
        return (
            f"publish all columns of the replica identity of {self.table}, and filter only by these"
        )


def filter_trials(
    state: PublicationState, records: Iterable[Mapping[str, str]]
) -> list[FilterTrial]:
    """Return one trial for each table with a row filter or a column list.

    The server's check is the same for both operations, and a DELETE needs no column. An UPDATE is
    tried where deletes are not published: the server would not check a DELETE then.
    """
    return [
        FilterTrial(
            table=TableName(record["schema"], record["name"]),
            column=None if state.pubdelete else record["column"],
        )
        for record in records
    ]
