"""Planned changes of one table, for tests of appliers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from applyfacts import OWN, dumped, transaction

from pgreplkit.apply import TableRule
from pgreplkit.apply.planner import Planner
from pgreplkit.apply.statements import Kind
from pgreplkit.values.tablename import TableName

NAME = TableName("public", "t")


def planner(
    rule: TableRule | None = None, own: Any = OWN, *, truncate: bool = True, is_binary: bool = False
) -> Planner:
    rules: Mapping[TableName, TableRule] = {} if rule is None else {NAME: rule}
    return Planner({NAME: own}, rules, dumped, truncate=truncate, is_binary=is_binary)


def planned(
    *messages: bytes, rule: TableRule | None = None, own: Any = OWN, identity: str = "d"
) -> list[tuple[Kind, list[bytes | None]]]:
    plan = planner(rule, own)
    return [
        (statement.kind, [*values])
        for change in transaction(*messages, identity=identity).changes()
        for statement, values, _ in plan.steps(change)
    ]
