"""A table with a delta column, and its statements."""

from __future__ import annotations

from itertools import count

from applyfacts import TEXT, column, dumped, source, target

from pgreplkit.apply import TableRule
from pgreplkit.apply.deltas import DeltaStatements
from pgreplkit.apply.shape import match
from pgreplkit.apply.stamped import Stamps

ACCOUNTS = source(("id", 23, True), ("n", 23, True), ("name", TEXT, True), identity="f")
OWN = target(column("id", not_null=True), column("n", not_null=True), column("name", TEXT))


def statements(rank: int | None = 2) -> DeltaStatements:
    numbers = count(1)
    matched = match(ACCOUNTS, OWN, TableRule(), dumped)
    return DeltaStatements(matched, Stamps(rank), ["n"], lambda: b"s%d" % next(numbers))
