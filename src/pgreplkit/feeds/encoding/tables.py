"""RowEncoding: the parts of messages that an encoder prepares once for each table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import attrs

from pgreplkit.feeds.change import FeedChange, FeedSource
from pgreplkit.feeds.destinations import Destinations
from pgreplkit.feeds.encoding.rows import RowForm, RowOptions
from pgreplkit.feeds.encoding.values import ToJson
from pgreplkit.protocol.pgoutput.tables import Column, Table

T = TypeVar("T")

_TABLES = 1024
"""Tables that are kept prepared: a server sends a table again after ANALYZE, for example."""


@attrs.frozen
class TableForm(Generic[T]):
    """The prepared parts of a table."""

    form: RowForm
    destination: str | None
    """None if it depends on the change."""
    constant: T
    """The parts of messages that are the same for all rows."""
    source: FeedSource


class RowEncoding(Generic[T]):
    """The destinations and the prepared tables of an encoder."""

    def __init__(
        self,
        options: RowOptions,
        destinations: Destinations,
        converter: Callable[[Column], ToJson],
        constant: Callable[[FeedSource, Table], T],
    ) -> None:
        self.destinations: Destinations = destinations
        self._options, self._converter, self._constant = options, converter, constant
        self._kept: dict[tuple[int, int], TableForm[T]] = {}

    def of(self, change: FeedChange, table: Table) -> TableForm[T]:
        """Return the prepared encoding of a table; prepare it if the table is new.

        Raises: ValueError.
        """
        # By identity: comparing tables takes long, and a table that is kept keeps its identity.
        name = id(table), id(change.source)
        kept = self._kept.get(name)
        if kept is None:
            if len(self._kept) >= _TABLES:
                # All at once, which needs no bookkeeping: preparing a table again is cheap.
                self._kept.clear()
            kept = self._kept[name] = self._prepare(change, table)
        return kept

    def destination(self, change: FeedChange, prepared: TableForm[T]) -> str:
        """Return the destination of a change of a table."""
        return prepared.destination or self.destinations.of(change, prepared.form.table)

    def _prepare(self, change: FeedChange, table: Table) -> TableForm[T]:
        is_constant = self.destinations.is_constant
        return TableForm(
            RowForm(table, self._converter, self._options),
            self.destinations.of(change, table) if is_constant else None,
            self._constant(change.source, table),
            change.source,
        )
