"""Compare streams of typed rows with other readers of a slot, on the same changes.

pg_recvlogical writes the bytes to /dev/null, which shows the server's own limit. psycopg2 returns
the same bytes, which are decoded by hand here; pypgoutput decodes them in Python.
"""

from __future__ import annotations

import select
import struct
import subprocess
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from statistics import median

import psycopg
import psycopg2
import psycopg2.extras

from pgreplkit import LSN, Primary
from pgreplkit.changes import Insert
from pgreplkit.lab import Lab, Node

ROUNDS, ROWS, SLOW_ROWS = 5, 100_000, 5_000
TABLE = """CREATE TABLE {} (id bigint PRIMARY KEY, name text, amount numeric(12, 2),
    at timestamptz, ok boolean)"""
VALUES = "i, 'name ' || i, i * 1.25, now(), i % 2 = 0"
ONE_EACH = """CREATE PROCEDURE one_each(rows int) LANGUAGE plpgsql AS $$ BEGIN
    FOR i IN 1..rows LOOP INSERT INTO small VALUES ({}); COMMIT; END LOOP; END $$"""


class Slot:
    """A slot with a fixed set of changes; each reader gets its own copy of the slot."""

    def __init__(self, node: Node, name: str, fill: str) -> None:
        self.node, self.name = node, name
        self.run(f"SELECT pg_create_logical_replication_slot('{name}', 'pgoutput')")
        self.run(fill)
        self.end = LSN(self.run("SELECT pg_current_wal_lsn()::text"))

    def run(self, sql: str) -> str:
        with psycopg.connect(self.node.conninfo, autocommit=True) as connection:
            cursor = connection.execute(sql.encode())
            return str(cursor.fetchall()[0][0]) if cursor.description else ""

    def rate(self, read: Callable[[Slot, str], int]) -> float:
        """Return rows per second."""
        name = f"{self.name}_copy"
        self.run(f"SELECT pg_copy_logical_replication_slot('{self.name}', '{name}')")
        began = time.perf_counter()
        rows = read(self, name)
        took = time.perf_counter() - began
        while True:
            with suppress(psycopg.errors.ObjectInUse):
                self.run(f"SELECT pg_drop_replication_slot('{name}')")
                return rows / took
            time.sleep(0.05)


def by_recvlogical(slot: Slot, name: str) -> int:
    """Discard the bytes; the number of rows is known."""
    program = str(slot.node.installation.bindir / "pg_recvlogical")
    options = ["--option=proto_version=4", "--option=publication_names=p"]
    target = [f"--dbname={slot.node.conninfo}", f"--slot={name}", f"--endpos={slot.end}"]
    subprocess.run(
        [program, *target, *options, "--start", "--no-loop", "--file=/dev/null"], check=True
    )
    return ROWS


def by_us(slot: Slot, name: str) -> int:
    with Primary.connect(slot.node.conninfo) as primary:
        changes = primary.changes(name, publications=["p"], stop_at=slot.end)
        return sum(isinstance(change, Insert) for change in changes)


def by_us_as_transactions(slot: Slot, name: str) -> int:
    with Primary.connect(slot.node.conninfo) as primary:
        changes = primary.changes(name, publications=["p"], stop_at=slot.end)
        return sum(len([*transaction]) for transaction in changes.transactions())


def by_psycopg2(slot: Slot, name: str) -> int:
    connection = psycopg2.connect(
        slot.node.conninfo, connection_factory=psycopg2.extras.LogicalReplicationConnection
    )
    cursor = connection.cursor()
    options = {"proto_version": "4", "publication_names": "p"}
    cursor.start_replication(slot_name=name, decode=False, options=options)
    rows: list[tuple[object, ...]] = []
    count = 0
    while count < ROWS:
        message = cursor.read_message()
        if message is None:
            select.select([connection], [], [], 1)
        elif message.payload[0] == 73:
            rows = [by_hand(message.payload)]
            count += len(rows)
    connection.close()
    return count


def by_hand(data: bytes) -> tuple[object, ...]:
    """Decode the five columns of an INSERT."""
    at, values = 8, []
    for _ in range(5):
        [size] = struct.unpack_from(">I", data, at + 1)
        values.append(data[at + 5 : at + 5 + size].decode())
        at += 5 + size
    id, name, amount, moment, ok = values
    return int(id), name, Decimal(amount), datetime.fromisoformat(moment), ok == "t"


def by_pypgoutput(slot: Slot, name: str) -> int:
    warnings.simplefilter("ignore")
    from pypgoutput import LogicalReplicationReader

    reader = LogicalReplicationReader("p", name, dsn=slot.node.conninfo)
    try:
        for count, _ in enumerate(reader, 1):
            if count == SLOW_ROWS:
                return count
    finally:
        reader.stop()
    return 0


READERS = {
    "pg_recvlogical": by_recvlogical,
    "pgreplkit": by_us,
    "pgreplkit, transactions": by_us_as_transactions,
    "psycopg2 by hand": by_psycopg2,
}


def main() -> None:
    """Read the same changes with each reader in turn."""
    # Without fsync, so that filling the slots does not measure the disk.
    settings = {"wal_level": "logical", "max_wal_size": "4GB", "fsync": "off", "autovacuum": "off"}
    with Lab() as lab:
        node = lab.primary(settings=settings)
        with psycopg.connect(node.conninfo, autocommit=True) as connection:
            for name in ("big", "small"):
                connection.execute(TABLE.format(name).encode())
            # pypgoutput can only parse offsets with minutes, so use a zone that has them.
            connection.execute("ALTER DATABASE postgres SET TimeZone = 'Asia/Kolkata'")
            connection.execute("CREATE PUBLICATION p FOR ALL TABLES")
            connection.execute(ONE_EACH.format(VALUES).encode())
        fill = f"INSERT INTO big SELECT {VALUES} FROM generate_series(1, {ROWS}) AS i"
        for what, name, sql in (
            (f"one transaction of {ROWS:,} rows", "one_big", fill),
            (f"{ROWS:,} transactions of one row", "many_small", f"CALL one_each({ROWS})"),
        ):
            slot = Slot(node, name, sql)
            rates: dict[str, list[float]] = {reader: [] for reader in READERS}
            for _ in range(ROUNDS):
                for reader, read in READERS.items():
                    rates[reader].append(slot.rate(read))
            rates["pypgoutput"] = [slot.rate(by_pypgoutput)]
            limit = median(rates["pg_recvlogical"])
            print(f"{what}, five columns:")
            for reader, measured in rates.items():
                rate = median(measured)
                share = f"{rate / limit:.2f} of the server's limit"
                print(f"  {reader:24} {rate:9,.0f} rows/s, {share}")


if __name__ == "__main__":
    main()
