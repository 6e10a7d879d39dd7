"""The rules by which the changes of a table are applied."""

from __future__ import annotations

import pytest

from pgreplkit.apply import TableRule
from pgreplkit.values.tablename import TableName


def test_rules_are_checked() -> None:
    with pytest.raises(ValueError, match="several values are mapped to the column 'x'"):
        TableRule(columns={"a": "x", "b": "x"})
    with pytest.raises(ValueError, match="'x'"):
        TableRule(columns={"a": "x"}, constants={"x": 1})
    with pytest.raises(TypeError, match="columns must map names to names, not 'a' to True"):
        TableRule(columns={"a": True})  # type: ignore[dict-item]
    with pytest.raises(TypeError, match="where must be callable"):
        TableRule(where="a > 1")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="where must take 1 argument"):
        TableRule(where=lambda: True)  # type: ignore[arg-type, misc]
    assert TableRule(to="Users").to == TableName("public", "users")
