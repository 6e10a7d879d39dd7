"""Classes that say what creates their objects."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from pgreplkit.values.madeby import made_by


class Link:
    """A token that only the library has."""


@made_by("server.part(name) or {name}.read(server)", Link)
class Part:
    """A part of a server."""

    def __init__(self, link: Link, size: int, *, name: str = "") -> None:
        self.size, self.name = int(size), name


class Half(Part):
    """A part of a part."""


GUESSES: list[tuple[list[object], dict[str, object]]] = [
    ([], {}),
    (["host=db1"], {}),
    (["host=db1", 5], {}),
    ([Link()], {}),
    ([Link(), 5, "name"], {}),
    ([], {"conninfo": "host=db1"}),
    ([Link(), 5], {"timeout": 1}),
]


@pytest.mark.parametrize(("given", "named"), GUESSES)
@pytest.mark.parametrize("kind", [Part, Half])
def test_a_class_called_by_guess_names_what_creates_it(
    kind: Any, given: list[object], named: dict[str, object]
) -> None:
    name = kind.__name__
    reason = f"^{name} is not created by calling it; use server.part\\(name\\) or {name}.read\\("
    with pytest.raises(TypeError, match=reason):
        kind(*given, **named)


def test_a_class_called_with_its_arguments_is_created() -> None:
    part = Half(Link(), 5, name="a")
    assert (part.size, part.name) == (5, "a")
    assert (
        str(inspect.signature(Part)) == "(link: 'Link', size: 'int', *, name: 'str' = '') -> 'None'"
    )


def test_a_type_error_of_the_constructor_itself_is_raised_as_it_is() -> None:
    with pytest.raises(TypeError, match="int"):
        Part(Link(), None)  # type: ignore[arg-type]
