"""Types of the fields of records that were built from JSON."""

from __future__ import annotations

import attrs
import pytest

from pgreplkit.values.fieldtypes import has_types


@attrs.frozen
class Inner:
    """Something inside."""

    flag: bool = True


@attrs.frozen
class Outer:
    """Something with all kinds of annotations."""

    name: str = "a"
    count: int | None = None
    names: tuple[str, ...] = ()
    pair: tuple[int, int] | None = None
    inner: tuple[Inner, ...] = ()


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"count": 5, "names": ("a", "b"), "pair": (1, 2)},
        {"inner": (Inner(), Inner(False))},
    ],
)
def test_values_of_the_annotated_types_are_accepted(fields: dict[str, object]) -> None:
    assert has_types(Outer(**fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "fields",
    [
        {"name": None},
        {"name": b"a"},
        {"count": True},
        {"count": 1.0},
        {"names": ["a"]},
        {"names": ("a", 1)},
        {"names": "ab"},
        {"pair": (1,)},
        {"pair": (1, 2, 3)},
        {"pair": (1, False)},
        {"pair": ()},
        {"inner": (Inner(), None)},
        {"inner": (Inner("no"),)},  # type: ignore[arg-type]
    ],
)
def test_values_of_other_types_are_refused(fields: dict[str, object]) -> None:
    assert not has_types(Outer(**fields))  # type: ignore[arg-type]
