"""ShardMap: the shard of a key, as PL/Proxy or hash partitions choose it."""

from collections.abc import Mapping
from fractions import Fraction
from math import gcd, lcm
from uuid import UUID

import attrs

from pgreplkit._text import quote_literal
from pgreplkit.values.flags import checked_flags
from pgreplkit.values.modelfield import ModelField
from pgreplkit.values.pghash import Key, hash32, partition_hash
from pgreplkit.values.tablename import AnyTable, quoted, table_of

_FUNCTIONS: Mapping[type, str] = {str: "hashtext", int: "hashint8", UUID: "uuid_hash"}
_LARGEST = 1 << 31


@attrs.frozen(repr=False)
class ShardMap(ModelField):
    """The shards of a table, and the rule that chooses the shard of a key.

    ``ShardMap(4)`` is the rule of PL/Proxy: the last bits of ``hashtext(key)``. With ``modular``
    it is that of its option ``modular_mapping``. ``ShardMap.partitions(4)`` is the rule of
    PostgreSQL's hash partitions. No server is asked.

    Keys are text, integers and UUIDs. Text is hashed in UTF-8, as a database of that encoding does
    with a deterministic collation.

    >>> shards = ShardMap(4)
    >>> shards.index("alice")
    1
    >>> shards.where(2, column="user_name")
    '(hashtext(user_name) & 3) = 2'
    >>> shards.doubled()
    ShardMap(8)

    Raises:
        ValueError: If the count is not a power of two, and the map neither modular nor of
            partitions.
    """

    count: int
    modular: bool = attrs.field(default=False, kw_only=True)
    of_partitions: bool = attrs.field(default=False, kw_only=True)

    def __attrs_post_init__(self) -> None:
        checked_flags(modular=self.modular, of_partitions=self.of_partitions)
        if not isinstance(self.count, int) or isinstance(self.count, bool):
            raise TypeError(f"count must be an int, not {type(self.count).__name__}")
        if not 0 < self.count < _LARGEST:
            raise ValueError(f"count must be from 1 to {_LARGEST - 1}, got {self.count}")
        if self.modular and self.of_partitions:
            raise ValueError("a map of partitions is not modular: choose one of the two rules")
        if self.count & (self.count - 1) and not (self.modular or self.of_partitions):
            raise ValueError(
                f"count must be a power of two, got {self.count}; or use"
                f" ShardMap({self.count}, modular=True) or ShardMap.partitions({self.count})"
            )

    @classmethod
    def partitions(cls, count: int) -> "ShardMap":
        """Return the map of a table with ``count`` hash partitions of the same modulus."""
        return cls(count, of_partitions=True)

    def index(self, *key: Key | None) -> int:
        """Return the shard of a key, from 0; the remainder of a hash partition.

        A key of hash partitions may have several columns, and NULL (None).

        Raises:
            InvalidValue: If no server can have the key.
            TypeError: If it is of another type, or None or several keys without partitions.
        """
        if self.of_partitions:
            if not key:
                raise TypeError("a key has at least one column")
            return partition_hash(key) % self.count
        if len(key) != 1 or key[0] is None:
            raise TypeError("a key is one value that is not None; only partitions have others")
        found = hash32(key[0])
        # The remainder has the sign of the number, in C as in SQL.
        return abs(found) % self.count if self.modular else found & (self.count - 1)

    def where(
        self,
        index: int,
        *,
        column: str | tuple[str, ...],
        key_type: type[Key] = str,
        partitioned: AnyTable | None = None,
    ) -> str:
        """Return the condition for the rows of a shard, as SQL for a row filter or a query.

        A map of partitions needs the ``partitioned`` table, which must exist where the condition
        is used; the columns are those of its key. Other maps need the ``key_type`` of the column:
        str, int or UUID.

        >>> ShardMap.partitions(4).where(1, column="id", partitioned="app.orders")
        "satisfies_hash_partition('app.orders'::regclass, 4, 1, id)"

        Raises:
            ValueError: If there is no such shard, or the table is missing or superfluous.
        """
        if not isinstance(index, int) or not 0 <= index < self.count:
            raise ValueError(f"index must be from 0 to {self.count - 1}, got {index!r}")
        names = (column,) if isinstance(column, str) else tuple(column)
        columns = ", ".join(map(quoted, names))
        if self.of_partitions is (partitioned is None):
            which = "needs" if self.of_partitions else "has no"
            raise ValueError(f"{self!r} {which} partitioned table")
        if partitioned is not None:
            table = f"{quote_literal(str(table_of(partitioned)))}::regclass"
            return f"satisfies_hash_partition({table}, {self.count}, {index}, {columns})"
        if len(names) != 1:
            raise ValueError(f"{self!r} has a key of one column, got {len(names)}")
        if key_type not in _FUNCTIONS:
            raise TypeError(f"key_type must be str, int or UUID, got {key_type!r}")
        hashed = f"{_FUNCTIONS[key_type]}({columns})"
        if self.modular:
            return f"abs(mod({hashed}, {self.count})) = {index}"
        return f"({hashed} & {self.count - 1}) = {index}"

    def doubled(self) -> "ShardMap":
        """Return the map with twice as many shards: shard i becomes i and i + count."""
        return attrs.evolve(self, count=2 * self.count)

    def moves_to(self, other: "ShardMap") -> dict[tuple[int, int], Fraction]:
        """Return the share of all keys that moves from each old shard to each new one.

        Shards of the same number are taken for the same server, so that their keys stay. Doubling
        moves half of the keys; from 3 to 4 modular shards three quarters move.

        >>> print(sum(ShardMap(2).moves_to(ShardMap(4)).values()))
        1/2

        Raises:
            ValueError: If the maps have different rules: then nearly all keys move.
        """
        if (self.modular, self.of_partitions) != (other.modular, other.of_partitions):
            raise ValueError(f"{self!r} and {other!r} have different rules: nearly all keys move")
        common, share = gcd(self.count, other.count), Fraction(1, lcm(self.count, other.count))
        return {
            (old, new): share
            for old in range(self.count)
            for new in range(old % common, other.count, common)
            if old != new
        }

    def __repr__(self) -> str:
        if self.of_partitions:
            return f"ShardMap.partitions({self.count})"
        return f"ShardMap({self.count}{', modular=True' if self.modular else ''})"
