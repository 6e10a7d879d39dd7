"""The key of a row as texts."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest

from pgreplkit.apply.shown import shown_key
from pgreplkit.protocol.pgoutput.tuples import BINARY, TEXT


@dataclass
class Keyed:
    """The part of a statement that says which values are the key."""

    key: tuple[tuple[str, int, int], ...]


ID = UUID("12345678-1234-5678-1234-567812345678")


@pytest.mark.parametrize(
    ("value", "how", "type_oid", "text"),
    [
        (b"7", TEXT, 23, "7"),
        (struct.pack(">i", -7), BINARY, 23, "-7"),
        (struct.pack(">I", 4_000_000_000), BINARY, 26, "4000000000"),
        (b"Ada", BINARY, 25, "Ada"),
        (ID.bytes, BINARY, 2950, str(ID)),
        (struct.pack(">i", 8825), BINARY, 1082, "2024-02-29"),
        (b"\x01", BINARY, 16, "true"),
        (b"f", TEXT, 16, "false"),
        (b"a  ", BINARY, 1042, "a"),
        (b"\x01\xff", BINARY, 600, "\\x01ff"),
        (b"\xff", TEXT, 25, "\\xff"),
        (None, TEXT, 25, None),
    ],
)
def test_a_value_of_the_key_is_shown_as_its_text(
    value: bytes | None, how: int, type_oid: int, text: str | None
) -> None:
    statement: Any = Keyed((("id", 1, type_oid),))
    assert shown_key(statement, [b"other", value], [TEXT, how]) == {"id": text}
