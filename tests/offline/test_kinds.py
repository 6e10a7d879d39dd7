"""The names of resource managers and kinds."""

from __future__ import annotations

from pagewalks import SEGMENT, walk_of
from walpages import WalWriter


def test_a_record_of_an_extension_has_the_number_of_its_manager() -> None:
    writer = WalWriter(SEGMENT)
    writer.add(128, 0x30, b"x")
    [record] = walk_of(writer).take(bytes(writer.content))
    assert (record.resource_manager, record.kind) == ("custom128", "UNKNOWN (30)")
