"""ShardMap: the shards of keys, as the server's own functions choose them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from uuid import UUID

import psycopg
import pytest
from clusters import Cluster

from pgreplkit import ShardMap

RANDOM = random.Random(1)
TEXTS = [
    "".join(chr(RANDOM.choice([RANDOM.randint(1, 127), RANDOM.randint(0xA0, 0xD7FF), 0x1F418]))
            for _ in range(length))
    for length in range(60)
]  # fmt: skip
NUMBERS = [0, 1, -1, 2**31 - 1, -(2**31), 2**31, 2**63 - 1, -(2**63)]
NUMBERS += [RANDOM.randint(-(2**63), 2**63 - 1) >> RANDOM.randint(0, 63) for _ in range(60)]
UUIDS = [UUID(int=RANDOM.getrandbits(128)) for _ in range(60)]
TABLES: dict[str, tuple[str, Sequence[str | int | UUID]]] = {
    "t": ("k text", TEXTS),
    "n": ("k bigint", NUMBERS),
    "i": ("k integer", [number for number in NUMBERS if abs(number) < 2**31]),
    "u": ("k uuid", UUIDS),
}


@pytest.mark.pg(">=11")
def test_shards_of_keys_agree_with_the_server(cluster: Cluster) -> None:
    with psycopg.connect(cluster.primary.conninfo) as connection:
        for table, (column, keys) in TABLES.items():
            connection.execute(
                f"CREATE TEMP TABLE {table} ({column}) PARTITION BY HASH (k)".encode()
            )
            kind = type(keys[0])
            for shards in (ShardMap(8), ShardMap(5, modular=True), ShardMap.partitions(7)):
                partitioned = f"pg_temp.{table}" if shards.of_partitions else None
                for index in range(shards.count):
                    where = shards.where(index, column="k", key_type=kind, partitioned=partitioned)
                    query = f"SELECT k FROM unnest(%s::{column[2:]}[]) k WHERE {where}"
                    found = [row[0] for row in connection.execute(query.encode(), [[*keys]])]
                    assert found == [key for key in keys if shards.index(key) == index]


@pytest.mark.pg(">=11")
def test_partitions_of_composite_keys_agree_with_the_server(cluster: Cluster) -> None:
    rows = [*zip(TEXTS, NUMBERS, UUIDS, strict=False), (None, 5, None), (None, None, None)]
    shards = ShardMap.partitions(6)
    with psycopg.connect(cluster.primary.conninfo) as connection:
        definition = "CREATE TEMP TABLE c (a text, b bigint, d uuid) PARTITION BY HASH (a, b, d)"
        connection.execute(definition)
        for index in range(6):
            part = f"CREATE TEMP TABLE c{index} PARTITION OF c FOR VALUES WITH"
            connection.execute(f"{part} (MODULUS 6, REMAINDER {index})".encode())
        cursor = connection.cursor()
        cursor.executemany("INSERT INTO c VALUES (%s, %s, %s)", rows)
        found = connection.execute("SELECT right(tableoid::regclass::text, 1)::int, a, b, d FROM c")
        stored = found.fetchall()
    assert len(stored) == len(rows)
    assert all(shards.index(*key) == index for index, *key in stored)
