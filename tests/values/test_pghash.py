"""The server's hashes. tests/live compares more of them."""

from __future__ import annotations

from uuid import UUID

import pytest

from pgreplkit.values.pghash import hash32, partition_hash


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("", -1477818771),
        ("a", 1075015857),
        ("twelve bytes", 652846557),
        ("日本語 and more text", -1842000413),
        (0, -272711505),
        (-1, 385747274),
        (1 << 31, -1524351049),
        (-(1 << 63), -96758253),
        (UUID(int=1), -1046387463),
    ],
)
def test_a_key_has_the_hash_of_the_server(key: str | int | UUID, expected: int) -> None:
    """As hashtext(), hashint8() and uuid_hash() of 18.4 return it."""
    assert hash32(key) == expected


def test_a_partition_key_has_the_hash_of_the_server() -> None:
    """The live tests compare partitions with the server's."""
    assert partition_hash(("",)) == 18051608080690800806
    assert partition_hash((-5,)) == 10772354535821104639
    assert partition_hash(("a", None, 7)) == 15430209945400985835
    assert partition_hash(("thirteen byte", UUID(int=1))) == 7865471505352794867
