"""The examples in docstrings of public names, which doctest's own search skips.

doctest searches objects whose __module__ is the module, but that of public classes is the public
module.
"""

from __future__ import annotations

import doctest
import inspect
from collections.abc import Iterator
from importlib import import_module

import pytest

from pgreplkit._public import HOME

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
PUBLIC = {
    name: getattr(import_module(public), name) for public, homes in HOME.items() for name in homes
}


def examples() -> Iterator[doctest.DocTest]:
    finder = doctest.DocTestFinder(exclude_empty=True)
    for name, value in PUBLIC.items():
        if inspect.isclass(value) or inspect.isfunction(value):
            yield from finder.find(value, name, module=False, globs=dict(PUBLIC))


@pytest.mark.parametrize("example", [e for e in examples() if e.examples], ids=lambda e: e.name)
def test_the_example_in_the_docstring_is_correct(example: doctest.DocTest) -> None:
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    assert runner.run(example).failed == 0


def methods(value: type) -> Iterator[tuple[str, object]]:
    for name, member in vars(value).items():
        if not name.startswith("_") and (
            inspect.isfunction(member) or isinstance(member, property)
        ):
            yield name, member


@pytest.mark.parametrize("name", [n for n, v in PUBLIC.items() if inspect.isclass(v)])
def test_every_public_method_has_a_docstring(name: str) -> None:
    assert inspect.getdoc(PUBLIC[name])
    assert not [method for method, member in methods(PUBLIC[name]) if not inspect.getdoc(member)]
