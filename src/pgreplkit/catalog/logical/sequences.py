"""SequenceState: a sequence's definition and its last value."""

from collections.abc import Sequence

import attrs

from pgreplkit.catalog.view import table_in
from pgreplkit.values.record import Record
from pgreplkit.values.tablename import TableName, quoted


@attrs.frozen(kw_only=True)
class SequenceState(Record):
    """A sequence when it was read.

    Source: pg_sequence, and the sequence itself.
    """

    name: TableName
    data_type: str
    start: int
    minimum: int
    maximum: int
    increment: int
    cycle: bool
    cache: int
    owner: str | None
    """The serial or identity column that owns it, as in public.users.id."""
    is_identity: bool
    last_value: int
    """The last value returned, or cached by a session; the first value if there is none."""
    is_called: bool
    """Whether ``last_value`` was returned by nextval()."""

    @property
    def next_value(self) -> int:
        """The next value of nextval(), regardless of its limits."""
        return self.last_value + self.increment if self.is_called else self.last_value


# The owner's names come from a function: planning with three more relations takes thrice as long.
DEFINITIONS = """
    SELECT nspname AS schema, relname AS name, pg_catalog.format_type(seqtypid, NULL) AS data_type,
        seqstart AS start, seqmin AS minimum, seqmax AS maximum, seqincrement AS increment,
        seqcycle AS cycle, seqcache AS cache,
        CASE WHEN deptype IS NOT NULL THEN
            (pg_identify_object_as_address(refclassid, refobjid, refobjsubid)).object_names END
            AS owner, coalesce(deptype = 'i', false) AS is_identity,
        CASE WHEN pg_catalog.has_sequence_privilege(c.oid, 'SELECT')
            THEN pg_catalog.pg_sequence_last_value(c.oid) END
            AS last_value
    FROM pg_sequence JOIN pg_class c ON c.oid = seqrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_depend ON classid = 'pg_class'::regclass::oid AND objid = c.oid AND objsubid = 0
        AND refclassid = 'pg_class'::regclass::oid AND refobjsubid > 0 AND deptype IN ('a', 'i')
    WHERE c.relpersistence <> 't'
    ORDER BY 1, 2
"""
"""All sequences; ``last_value`` is None for one that has not returned a value."""
POSITION_OF = "SELECT {} AS place, last_value, is_called FROM {}"
SETVAL = """
    SELECT pg_catalog.setval(name::regclass, last_value, is_called)
    FROM unnest(%s::text[], %s::bigint[], %s::boolean[]) AS due (name, last_value, is_called)
"""


def sequence_in(record: dict[str, object], last_value: int, is_called: bool) -> SequenceState:
    """Return the sequence of one record of ``DEFINITIONS``, with its current position."""
    owner: Sequence[str] | None = record.pop("owner")  # type: ignore[assignment]
    return SequenceState(
        name=table_in(record),
        owner=".".join(map(quoted, owner)) if owner else None,
        last_value=last_value,
        is_called=is_called,
        **record,  # type: ignore[arg-type]
    )
