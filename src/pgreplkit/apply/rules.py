"""TableRule: how the changes of one table are applied."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import attrs

from pgreplkit.protocol.pgoutput.rows import Row
from pgreplkit.values.functions import insist_on_function
from pgreplkit.values.several import several
from pgreplkit.values.tablename import AnyTable, TableName, table_of

Where: TypeAlias = Callable[[Row], bool]
"""True for the rows that the subscriber has."""
ChangeRow: TypeAlias = Callable[[Row], Mapping[str, object] | None]
"""Values by column that replace those of a row; None leaves the row out."""


def _insist_on_name(name: object, what: str) -> None:
    if not isinstance(name, str):
        raise TypeError(f"the name of {what} must be a str, not {type(name).__name__}")
    if not name or "\0" in name:
        raise ValueError(f"{what} cannot have the name {name!r}: it is empty or contains NUL")


def _target(table: AnyTable | None) -> TableName | None:
    return None if table is None else table_of(table)


def _columns(columns: Mapping[str, str | None]) -> dict[str, str | None]:
    if not isinstance(columns, Mapping):
        raise TypeError(f"columns must be a mapping of names, not {type(columns).__name__}")
    for name, own in columns.items():
        if not isinstance(name, str) or not (own is None or isinstance(own, str)):
            raise TypeError(f"columns must map names to names, not {name!r} to {own!r}")
        for column in (name, *([] if own is None else [own])):
            _insist_on_name(column, "a column")
    # A copy: a later change by the caller has no effect on a running applier.
    return {**columns}


def _constants(constants: Mapping[str, object]) -> dict[str, object]:
    if not isinstance(constants, Mapping):
        raise TypeError(f"constants must be a mapping of values, not {type(constants).__name__}")
    for name in constants:
        _insist_on_name(name, "a column")
    return {**constants}


def _key(key: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if key is None:
        return None
    names = several(key, "key", at_least=1)
    for name in names:
        _insist_on_name(name, "a column of the key")
    return names


@attrs.frozen(kw_only=True)
class TableRule:
    """How the changes of one table are applied; by default, to the table of the same name.

    With ``where`` or ``change``, each row is loaded as Python values, which is about ten times
    slower. They are called again for a transaction that is applied again, and for the old row of a
    table without a key, so that they must return the same for equal rows.
    """

    to: TableName | None = attrs.field(default=None, converter=_target)
    """The subscriber's table; None means the same name."""
    columns: Mapping[str, str | None] = attrs.field(factory=dict, converter=_columns)
    """The subscriber's column for a publisher's column, where the names differ; None drops it."""
    constants: Mapping[str, object] = attrs.field(factory=dict, converter=_constants)
    """Values for columns that only the subscriber has."""
    where: Where | None = None
    """The rows to apply. A row that no longer fits is deleted, one that fits again is inserted."""
    change: ChangeRow | None = None
    """Changes a row before it is applied; must not change the key."""
    key: tuple[str, ...] | None = attrs.field(default=None, converter=_key)
    """The subscriber's columns that identify a row; by default the replica identity's."""

    def __attrs_post_init__(self) -> None:
        taken = [name for name in self.columns.values() if name is not None]
        # The server would refuse the INSERT, but only when the first change arrives.
        twice = {name for name in taken if taken.count(name) > 1 or name in self.constants}
        if twice:
            raise ValueError(f"several values are mapped to the column {sorted(twice)[0]!r}")
        for name in ("where", "change"):
            if getattr(self, name) is not None:
                insist_on_function(getattr(self, name), name, takes=1)

    @property
    def needs_rows(self) -> bool:
        """Whether a callable needs each row as Python values."""
        return self.where is not None or self.change is not None
