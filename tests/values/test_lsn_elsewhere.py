"""LSN outside this package: nothing takes it for bytes, text or a number."""

from __future__ import annotations

import json
import operator
import sqlite3
import struct
from collections.abc import Callable
from contextlib import closing

import psycopg
import pytest
from psycopg.adapt import AdaptersMap, PyFormat, Transformer

from pgreplkit import LSN, register

LOW = LSN("0/1000000")


def refuses(function: Callable[..., object], *arguments: object) -> bool:
    try:
        function(*arguments)
    except (TypeError, struct.error, psycopg.Error, sqlite3.Error):
        return True
    return False


def stored_in_sqlite(lsn: object) -> None:
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute("SELECT ?", [lsn])


@pytest.mark.parametrize(
    "take",
    [
        *(bytes, bytearray, memoryview, b"".join, "".join, list, len, iter, float, complex, hex),
        *(operator.index, range, abs, round, json.dumps, open),
        lambda lsn: json.dumps({"lsn": [lsn]}),
        lambda lsn: json.dumps({lsn: 1}),
        lambda lsn: struct.pack(">Q", lsn),
        lambda lsn: struct.pack("8s", lsn),
        lambda lsn: b"%b" % lsn,
        lambda lsn: sum([lsn, lsn]),
        stored_in_sqlite,
    ],
)
def test_the_standard_library_refuses_a_position(take: Callable[[object], object]) -> None:
    assert refuses(take, LOW)


@pytest.mark.parametrize("form", PyFormat)
def test_psycopg_refuses_a_position_until_it_is_registered(form: PyFormat) -> None:
    adapters = AdaptersMap(psycopg.adapters)
    assert refuses(adapters.get_dumper, LSN, form)
    register(adapters)
    assert adapters.get_dumper(LSN, form).oid == psycopg.postgres.types["pg_lsn"].oid


def test_psycopg_writes_no_literal_of_a_position_until_it_is_registered() -> None:
    adapters = AdaptersMap(psycopg.adapters)
    assert refuses(Transformer(adapters).as_literal, LOW)
    register(adapters)
    assert Transformer(adapters).as_literal(LOW) == b"'0/1000000'::pg_lsn"


@pytest.mark.parametrize("context", [None, object()])
def test_register_says_what_it_takes(context: object) -> None:
    with pytest.raises(TypeError, match=r"psycopg 3.* configure="):
        register(context)  # type: ignore[arg-type]
