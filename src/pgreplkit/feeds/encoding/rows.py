"""RowForm: the JSON of a table's rows and keys, prepared once for each table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from json.encoder import encode_basestring

import attrs

from pgreplkit._text import counted
from pgreplkit.errors import EncodingFailed
from pgreplkit.feeds.change import FeedChange, not_encoded
from pgreplkit.feeds.encoding.values import ToJson
from pgreplkit.protocol.pgoutput.tables import Column, RelationIdentity, Table
from pgreplkit.protocol.pgoutput.tuples import TEXT, UNSENT, RawValues
from pgreplkit.values.several import by_name, several

_FILLS = ("none", "old")


def _keys(given: Mapping[str, Sequence[str]] | None) -> Mapping[str, tuple[str, ...]]:
    return {
        table: several(columns, f"keys[{table!r}]", at_least=1)
        for table, columns in by_name(given, "keys").items()
    }


@attrs.frozen(kw_only=True)
class RowOptions:
    """The options of rows and keys that all encoders have in common.

    Raises: TypeError; ValueError.
    """

    fill: str
    """``"old"`` takes large values that did not change from the old row, if it was sent."""
    tombstones: bool
    """Whether a message without a body follows when a key no longer exists."""
    keys: Mapping[str, tuple[str, ...]] = attrs.field(converter=_keys)
    """Key columns of tables whose replica identity is not a key, by ``schema.table``."""

    def __attrs_post_init__(self) -> None:
        if self.fill not in _FILLS:
            raise ValueError(f"fill must be one of {', '.join(_FILLS)}, got {self.fill!r}")

    def key_of(self, table: Table) -> tuple[str, ...]:
        """Return the names of a table's key columns; none if it has no key.

        With REPLICA IDENTITY FULL the server marks all columns: they identify a row of the table,
        but change with each update.
        """
        chosen = self.keys.get(f"{table.schema}.{table.name}")
        if chosen is not None:
            return chosen
        if table.replica_identity == RelationIdentity.FULL:
            return ()
        return tuple(column.name for column in table.key)


class RowForm:
    """The JSON of rows and keys of one table.

    Raises: ValueError for a key column that the table lacks.
    """

    def __init__(
        self, table: Table, converter: Callable[[Column], ToJson], options: RowOptions
    ) -> None:
        self.table = table
        self.has_tombstones: bool = options.tombstones
        columns = self._columns = table.columns
        self._converters = tuple(converter(column) for column in columns)
        self._names = [encode_basestring(column.name) for column in columns]
        self._template = _template(self._names)
        self._fills = options.fill == "old"
        places = {column.name: place for place, column in enumerate(columns)}
        # Sorted, so that the key does not depend on the order of the columns.
        key = sorted(options.key_of(table))
        if missing := [name for name in key if name not in places]:
            raise ValueError(f"keys: {table} publishes no column {missing[0]!r}")
        if hidden := [name for name in key if not columns[places[name]].is_key]:
            found = f"keys: deletes in {table} are sent without column {hidden[0]!r}"
            raise ValueError(f"{found}: it is not part of the replica identity")
        self._key = [places[name] for name in key]
        self._key_template = _template([self._names[place] for place in self._key])
        self._is_key = [place in self._key for place in range(len(columns))]

    def new(self, change: FeedChange) -> RawValues:
        """Return the new values, filled from the old ones if that is an option."""
        if change.new is None:
            raise ValueError("the change has no new values")
        values, formats = change.new
        old = change.old
        if UNSENT not in formats or old is None:
            return change.new
        # The key is sent with the old row when it is too large to be sent with the new one.
        taken = self._is_key if change.is_key_only or not self._fills else None
        filled = [*values], [*formats]
        for place, (form, before) in enumerate(zip(formats, old[0], strict=True)):
            if form == UNSENT and (taken is None or taken[place]) and old[1][place] == TEXT:
                filled[0][place], filled[1][place] = before, TEXT
        return filled

    def row(self, values: RawValues, placeholders: Sequence[str] | None = None) -> str:
        """Return a row as a JSON object.

        Large values that were not sent are left out, or replaced by the column's placeholder.

        Raises: ValueError.
        """
        given, formats = values
        if UNSENT not in formats:
            return self._template % self._all(given)
        if placeholders is None:
            sent = [place for place, form in enumerate(formats) if form != UNSENT]
            return _template([self._names[place] for place in sent]) % self._texts(given, sent)
        texts = self._all(given)
        return self._template % tuple(
            placeholders[place] if form == UNSENT else texts[place]
            for place, form in enumerate(formats)
        )

    def written(
        self, change: FeedChange, placeholders: Sequence[str]
    ) -> tuple[str, bytes | None, str]:
        """Return the new row, its key, and the names of the large values that were not sent.

        If all values were sent, each is converted once.

        Raises: ValueError.
        """
        new = change.new
        if new is None or UNSENT in new[1]:
            new = self.new(change)
            if UNSENT in new[1]:
                return self.row(new, placeholders), self.key(new), self.unchanged(new)
        texts = self._all(new[0])
        if not self._key:
            return self._template % texts, None, ""
        key = self._key_template % tuple([texts[place] for place in self._key])
        return self._template % texts, key.encode(), ""

    def old(self, change: FeedChange) -> str | None:
        """Return the old row, or its key columns, as a JSON object; None if it was not sent.

        Raises: ValueError.
        """
        if change.old is None:
            return None
        values = change.old[0]
        if not change.is_key_only:
            return self._template % self._all(values)
        # The server sends NULL for the others.
        sent = [place for place, column in enumerate(self._columns) if column.is_key]
        return _template([self._names[place] for place in sent]) % self._texts(values, sent)

    def unchanged(self, values: RawValues) -> str:
        """Return the names of the large values that were not sent, as a JSON array; or ""."""
        if UNSENT not in values[1]:
            return ""
        names = [self._names[place] for place, form in enumerate(values[1]) if form == UNSENT]
        return f"[{','.join(names)}]"

    def key(self, values: RawValues | None) -> bytes | None:
        """Return the key of a row as canonical JSON; None if the table has no key.

        Raises: ValueError.
        """
        if not self._key or values is None:
            return None
        return (self._key_template % self._texts(values[0], self._key)).encode()

    def _all(self, values: Sequence[bytes | None]) -> tuple[str, ...]:
        try:
            # A list, because a generator is slower: this is done for each row.
            return tuple(
                [
                    "null" if value is None else convert(value)
                    for convert, value in zip(self._converters, values, strict=True)
                ]
            )
        except ValueError:
            # Once more, one value after the other: the error names the column.
            return self._texts(values, range(len(values)))

    def _texts(self, values: Sequence[bytes | None], places: Sequence[int]) -> tuple[str, ...]:
        converters = self._converters
        if len(values) != len(converters):
            raise ValueError(
                f"{self.table} has {counted(len(converters), 'column')}, not {len(values)}"
            )
        texts: list[str] = []
        place = -1
        try:
            for place in places:
                value = values[place]
                texts.append("null" if value is None else converters[place](value))
        except ValueError as error:
            # The value is not shown: it may be confidential.
            name = self._columns[place].name
            raise ValueError(f"column {name!r} of {self.table}: {error_text(error)}") from None
        return tuple(texts)


def error_text(error: ValueError) -> str:
    """Return the reason of a value that could not be converted, without the value."""
    if isinstance(error, UnicodeDecodeError):
        return (
            f"its text is not UTF-8 ({error.reason} at byte {error.start}): the database has no"
            " encoding, or other software has stored bytes that are not valid in it"
        )
    return str(error)


def _template(names: Sequence[str]) -> str:
    return "{" + ",".join(name.replace("%", "%%") + ":%s" for name in names) + "}"


def failed(change: FeedChange, table: Table, error: ValueError) -> EncodingFailed:
    """Return the error for a change with a value that cannot be encoded."""
    return not_encoded(change, error_text(error), table)
