"""Match: a published table, and the columns of the subscriber to which it is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import attrs

from pgreplkit._text import quote_identifier
from pgreplkit.apply.rules import TableRule
from pgreplkit.catalog.logical.applytables import TargetColumn, TargetTable
from pgreplkit.errors import SchemaMismatch
from pgreplkit.protocol.pgoutput.tables import RelationIdentity, Table
from pgreplkit.protocol.pgoutput.tuples import Octets
from pgreplkit.values.tablename import TableName

Dump = Callable[[object], Octets]
"""Returns the text of a Python value, as the server reads it."""

_SCALARS = {
    *(16, 17, 18, 19, 20, 21, 23, 25, 26, 114, 142, 700, 701, 829, 774, 869, 650),
    *(1042, 1043, 1082, 1083, 1114, 1184, 1186, 1266, 1560, 1562, 1700, 2950, 3802),
}
_ARRAYS = {
    *(1000, 1001, 1002, 1003, 1016, 1005, 1007, 1009, 1028, 199, 143, 1021, 1022, 1040, 775),
    *(1041, 651, 1014, 1015, 1182, 1183, 1115, 1185, 1187, 1270, 1561, 1563, 1231, 2951, 3807),
}
PORTABLE_TYPES = frozenset(_SCALARS | _ARRAYS)
"""Built-in types whose binary form means the same on every server and major version.

Others contain OIDs, as regclass and composites do, or depend on settings, as money does.
"""
_UNCOMPARABLE = {114, 142, 143, 199}
"""json and xml, and arrays of them: they have no equality."""


@attrs.frozen
class Written:
    """A column of the subscriber that gets a value."""

    column: TargetColumn
    position: int
    """The position among the publisher's columns, followed by the constants."""


@attrs.frozen(eq=False)
class Match:
    """A published table, and how its values are written to the subscriber's table."""

    source: Table
    target: TargetTable
    written: tuple[Written, ...]
    constants: tuple[Octets, ...]
    """The texts of the constants, whose positions follow those of the publisher's columns."""
    key: tuple[Written, ...]
    """The columns that identify a row; empty if all of them do, or none."""
    is_unique: bool
    """Whether the key identifies one row at most."""
    is_binary: bool = False
    """Whether values are sent in binary, which no other type than that of the column reads."""
    is_root: bool = False
    """Whether the published table is partitioned: each partition sends old rows by its own replica
    identity."""

    @property
    def width(self) -> int:
        """The number of the publisher's columns."""
        return len(self.source.columns)

    def types(self, shift: int) -> dict[int, int]:
        """Return the types of values by position; ``shift`` is the width of an old row before."""
        width = self.width
        return {
            one.position + more: one.column.type_oid
            for one in self.written
            # The constants follow the new row.
            for more in ({0, shift} if one.position < width else {shift})
        }

    @property
    def sent_key(self) -> tuple[str, ...]:
        """The publisher's columns that identify a row, by their names there."""
        columns, width = self.source.columns, self.width
        return tuple(columns[one.position].name for one in self.key if one.position < width)

    @property
    def is_full(self) -> bool:
        """Whether old rows are sent whole."""
        return self.source.replica_identity is RelationIdentity.FULL

    @property
    def is_portable(self) -> bool:
        """Whether all values may be sent in binary."""
        return all(
            one.position >= self.width
            or (
                one.column.type_oid == self.source.columns[one.position].type_oid
                and one.column.type_oid in PORTABLE_TYPES
            )
            for one in self.written
        )

    @property
    def computed(self) -> tuple[int, ...]:
        """The positions of the publisher's columns that the subscriber computes itself."""
        own = {column.name for column in self.target.columns if column.is_generated}
        written = {one.position for one in self.written}
        columns = enumerate(self.source.columns)
        return tuple(at for at, one in columns if one.name in own and at not in written)

    @property
    def identity_always(self) -> tuple[Written, ...]:
        """The columns GENERATED ALWAYS AS IDENTITY, which UPDATE cannot set."""
        return tuple(one for one in self.written if one.column.identity == "a")


def is_comparable(column: TargetColumn) -> bool:
    """Return whether the column's type surely has an equality: no comparison as text is needed."""
    return column.type_oid in PORTABLE_TYPES and column.type_oid not in _UNCOMPARABLE


def no_table(name: TableName, other: str) -> str:
    """Return the problem that a table does not exist.

    ``other`` is the kind of the relation that has its name, such as a view; empty without one.
    """
    if other:
        return f"{name} of the subscriber is a {other}, and changes need a table"
    return f"the subscriber has no table {name}"


def match(
    source: Table, target: TargetTable | None, rule: TableRule, dump: Dump, other: str = ""
) -> Match:
    """Match a published table with the subscriber's, column by column.

    ``other`` is the kind of a relation of that name that is no table; empty without one.

    Raises: SchemaMismatch.
    """
    name = rule.to or source.table_name
    if target is None:
        raise SchemaMismatch(str(source), (no_table(name, other),))
    problems: list[str] = []
    ddl: list[str] = []
    written: list[Written] = []
    for position, column in enumerate(source.columns):
        own_name = rule.columns.get(column.name, column.name)
        # The constant is the value of its column, whatever the publisher sends for it.
        if own_name is None or own_name in rule.constants:
            continue
        own = target.column(own_name)
        if own is None:
            problems.append(f"{target.table} has no column {own_name!r}")
            ddl.append(_added(target, own_name, column.type_oid))
        # The subscriber computes a generated column itself, unless a rule asks for the publisher's
        # value.
        elif not own.is_generated:
            written.append(Written(own, position))
        elif column.name in rule.columns:
            problems.append(_generated(target, own_name, f"the rule maps {column.name!r} to it"))
    constants: list[Octets] = []
    for constant, value in rule.constants.items():
        own = target.column(constant)
        if own is None:
            problems.append(f"{target.table} has no column {constant!r}, which is a constant")
        elif own.is_generated:
            problems.append(_generated(target, constant, "it is a constant of the rule"))
        else:
            written.append(Written(own, len(source.columns) + len(constants)))
            if value is None and own.not_null:
                problems.append(f"the constant {constant!r} is NULL, and its column is NOT NULL")
        try:
            constants.append(dump(value))
        except ValueError as error:
            problems.append(f"the constant {constant!r} is {error}")
    if unknown := [*_unknown(source, rule)]:
        # With a misspelt name, another column seems to be missing.
        problems += unknown
        ddl.clear()
    problems += _written_twice(written)
    problems += _left_out(target, written)
    key = _key(source, target, rule, written, problems)
    if problems:
        raise SchemaMismatch(str(source), tuple(problems), tuple(filter(None, ddl)))
    is_unique = target.is_unique([one.column.name for one in key])
    return Match(source, target, tuple(written), tuple(constants), key, is_unique)


def insist_on_no_rules(matched: Match, *, replaces: bool) -> None:
    """Refuse a table of the subscriber whose rules would replace or hinder the changes.

    ``replaces`` says whether INSERT … ON CONFLICT writes rows.

    Raises: SchemaMismatch.
    """
    target = matched.target
    if refused := target.refused_rules(replaces=replaces):
        why = "with which ON CONFLICT fails" if replaces else "which fire for applied changes"
        problem = f"{target.table} has the rules {', '.join(refused)}, {why}"
        statements = target.without_rules(replaces=replaces)
        raise SchemaMismatch(str(matched.source), (problem,), statements)


def insist_on_named(
    table: TableName, target: TargetTable | None, rule: TableRule, other: str = ""
) -> None:
    """Refuse a rule that names a table or a column that the subscriber lacks, or computes itself.

    Unlike ``match``, it does not look at the published columns: a change that was made before they
    were altered still has the old ones. ``other`` is the kind of a relation that is no table.

    Raises: SchemaMismatch.
    """
    problems = []
    if target is None:
        problems = [no_table(rule.to or table, other)]
    else:
        names = dict.fromkeys([*rule.columns.values(), *rule.constants, *(rule.key or ())])
        missing = [name for name in names if name is not None and target.column(name) is None]
        problems = [f"{target.table} has no column {name!r}" for name in missing]
        given = {own: f"the rule maps {name!r} to it" for name, own in rule.columns.items() if own}
        given |= dict.fromkeys(rule.constants, "it is a constant of the rule")
        for name, what in given.items():
            own = target.column(name)
            if own is not None and own.is_generated:
                problems.append(_generated(target, name, what))
    if problems:
        raise mismatch_of_rule(table, problems)


def _generated(target: TargetTable, name: str, what: str) -> str:
    return f"{target.table} computes {name!r}, a generated column, and {what}"


def mismatch_of_rule(table: TableName, problems: Sequence[str]) -> SchemaMismatch:
    """Return the error for a rule that does not fit the subscriber's table."""
    mismatch = SchemaMismatch(str(table), tuple(problems))
    mismatch.remedy = "correct the rule or the subscriber's table, and run the applier again"
    return mismatch


def _unknown(source: Table, rule: TableRule) -> Iterator[str]:
    names = {column.name for column in source.columns}
    for name in rule.columns:
        if name not in names:
            yield f"the rule maps the column {name!r}, which is not published"


def _written_twice(written: Sequence[Written]) -> Iterator[str]:
    """Find columns that a rule maps to the name that another published column has."""
    names = [one.column.name for one in written]
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            yield f"several published columns are mapped to {name!r}"


def _left_out(target: TargetTable, written: Sequence[Written]) -> Iterator[str]:
    taken = {one.column.name for one in written}
    for column in target.columns:
        if column.needs_value and column.name not in taken:
            yield (
                f"{target.table} needs a value for {column.name!r}, which is NOT NULL without a"
                " default and gets none"
            )


def _added(target: TargetTable, name: str, type_oid: int) -> str:
    type_name = _TYPE_NAMES.get(type_oid)
    # The types of others depend on modifiers and schemas: schema_drift() knows them.
    if type_name is None:
        return ""
    return f"ALTER TABLE {target.table} ADD COLUMN {quote_identifier(name)} {type_name}"


_TYPE_NAMES = {
    16: "boolean",
    17: "bytea",
    20: "bigint",
    21: "smallint",
    23: "integer",
    25: "text",
    114: "json",
    700: "real",
    701: "double precision",
    1082: "date",
    1114: "timestamp",
    1184: "timestamptz",
    1700: "numeric",
    2950: "uuid",
    3802: "jsonb",
    1043: "varchar",
}


def _key(
    source: Table,
    target: TargetTable,
    rule: TableRule,
    written: Sequence[Written],
    problems: list[str],
) -> tuple[Written, ...]:
    """Return the columns that identify a row of the subscriber."""
    by_name = {one.column.name: one for one in written}
    width = len(source.columns)
    is_full = source.replica_identity is RelationIdentity.FULL
    sent = {
        one.column.name
        for one in written
        if one.position >= width or is_full or source.columns[one.position].is_key
    }
    if rule.key is not None:
        # A delete, or an update of the key, would come without that value.
        if missing := [name for name in rule.key if name not in sent]:
            problems.append(f"the key column {missing[0]!r} is not part of the replica identity")
        return tuple(by_name[name] for name in rule.key if name in by_name)
    if is_full:
        # Every old value is sent, so that any key of the subscriber will do.
        fitting = [key for key in target.keys if {*key} <= sent]
        # A NULL identifies no row.
        fitting.sort(key=lambda key: not all(by_name[name].column.not_null for name in key))
        return tuple(by_name[name] for name in fitting[0]) if fitting else ()
    key = [one for one in written if one.position < width and source.columns[one.position].is_key]
    published = [column for column in source.columns if column.is_key]
    if len(key) < len(published):
        # Without all of it, other rows could be hit.
        problems.append("a column of the replica identity is dropped or generated")
    if key:
        # A constant in a key of the subscriber separates the rows of several sources.
        own = {name for columns in target.keys for name in columns}
        key += [one for one in written if one.position >= width and one.column.name in own]
    return tuple(key)
