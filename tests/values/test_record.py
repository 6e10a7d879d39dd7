"""Records as JSON types."""

from __future__ import annotations

import attrs

from pgreplkit import LSN
from pgreplkit.values.record import Record


@attrs.frozen
class Inner(Record):
    lsn: LSN


@attrs.frozen
class Sample(Record):
    number: int
    inner: Inner | None
    parts: tuple[Inner, ...] = ()

    @property
    def double(self) -> int:
        return 2 * self.number


def test_a_row_becomes_its_fields_and_properties() -> None:
    row = Sample(3, Inner(LSN(1)), (Inner(LSN(2)),))
    assert row.to_dict() == {
        "number": 3,
        "inner": {"lsn": "0/1"},
        "parts": [{"lsn": "0/2"}],
        "double": 6,
    }
    assert Sample(0, None).to_dict()["inner"] is None
