"""UnfoundRows: partitions whose old rows do not say which row of the subscriber is meant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs

from pgreplkit.catalog.logical.replicaidentity import IdentityKind, ReplicaIdentity
from pgreplkit.plans.server.readiness import checked
from pgreplkit.values.finding import Finding
from pgreplkit.values.tablename import TableName

_NEEDED = (
    "partitions whose replica identity has these columns: the server writes old rows by the"
    " identity of the partition, so that an UPDATE or DELETE would find no row, and be lost"
)


@attrs.frozen
class UnfoundRows:
    """Partitions of one published table of which changes would be lost."""

    key: tuple[str, ...]
    """The published columns by which rows are found; none if all of their values are needed."""
    leaves: tuple[TableName, ...]

    @property
    def found(self) -> str:
        """The facts, for a finding or an error."""
        listed = ", ".join(map(str, self.leaves))
        if self.key:
            return (
                f"its rows are found by ({', '.join(self.key)}), which the replica identity of"
                f" {listed} does not have"
            )
        return (
            "it has no replica identity that the subscriber's table has a key for, so that its rows"
            f" are found by all of their values, which {listed} does not send"
        )

    @property
    def remedy(self) -> str:
        """The statements for the publisher."""
        statements = (f"ALTER TABLE {leaf} REPLICA IDENTITY FULL" for leaf in self.leaves)
        return f"on the publisher: {'; '.join(statements)}"


def unfound_rows(key: Sequence[str], leaves: Sequence[ReplicaIdentity]) -> UnfoundRows | None:
    """Return the partitions whose old rows lack the columns ``key``; None without such ones."""
    lacking = [
        leaf.table
        for leaf in leaves
        # The publisher refuses to change the rows of one that has no identity.
        if leaf.is_usable
        and leaf.kind is not IdentityKind.FULL
        and not (key and {*key} <= {*leaf.columns})
    ]
    return UnfoundRows(tuple(key), tuple(lacking)) if lacking else None


def unfound_found(check: str, unfound: UnfoundRows | None) -> Iterator[Finding]:
    """Yield the finding on partitions of which changes would be lost."""
    if unfound is not None:
        yield checked(
            f"{check}, its partitions",
            ok=False,
            observed=unfound.found,
            needed=_NEEDED,
            remedy=unfound.remedy,
        )
