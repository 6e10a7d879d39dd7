"""Values of settings: octal permissions, decimal numbers and units."""

from __future__ import annotations

from datetime import timedelta

import attrs
import pytest
import serverfacts
from hypothesis import given, strategies as st

from pgreplkit.rows import Setting, VarType


def setting(text: str | None, unit: str | None = None, vartype: str = "integer") -> Setting:
    return attrs.evolve(serverfacts.setting("x", text, unit=unit), vartype=VarType(vartype))


@given(st.integers(0, 0o777))
def test_permissions_are_octal(mode: int) -> None:
    """The server shows them with %04o."""
    assert setting(f"{mode:04o}").value == mode


@given(st.integers(-(1 << 31), (1 << 31) - 1))
def test_other_integers_are_decimal(number: int) -> None:
    assert setting(str(number)).value == number


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("16", "8kB", 131072),
        ("0", "kB", 0),
        ("-1", "MB", None),
        ("5", "min", timedelta(minutes=5)),
        (None, None, None),
    ],
)
def test_units_are_applied(text: str | None, unit: str | None, value: object) -> None:
    assert setting(text, unit).value == value
