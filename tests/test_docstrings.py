"""The docstrings: each public method has one, and their examples are correct."""

from __future__ import annotations

import doctest
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from importlib import import_module

import pgreplkit
from pgreplkit._public import HOME

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
PUBLIC = {
    name: getattr(import_module(public), name) for public, homes in HOME.items() for name in homes
}


def examples() -> Iterator[doctest.DocTest]:
    """Yield the examples of the package; a docstring that two names share comes twice."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    for module in pkgutil.walk_packages(pgreplkit.__path__, "pgreplkit."):
        if not module.name.endswith("__main__"):
            code = import_module(module.name)
            yield from finder.find(code, globs=PUBLIC | vars(code))
    # The search in modules skips public classes, because their __module__ is the public module.
    for name, value in PUBLIC.items():
        if inspect.isclass(value) or inspect.isfunction(value):
            yield from finder.find(value, name, module=False, globs=dict(PUBLIC))


def insist_on_correct(chosen: Callable[[doctest.DocTest], bool]) -> None:
    found = {test.docstring: test for test in examples() if test.examples and chosen(test)}
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    for example in found.values():
        runner.run(example)
    assert runner.tries > 0
    assert runner.failures == 0


def starts_servers(example: doctest.DocTest) -> bool:
    return "with Lab()" in (example.docstring or "")


def test_the_examples_in_docstrings_are_correct() -> None:
    insist_on_correct(lambda example: not starts_servers(example))


def test_the_examples_that_start_servers_are_correct() -> None:
    insist_on_correct(starts_servers)


def methods(value: type) -> Iterator[tuple[str, object]]:
    for name, member in vars(value).items():
        if not name.startswith("_") and (
            inspect.isfunction(member) or isinstance(member, property)
        ):
            yield name, member


def test_every_public_class_and_method_has_a_docstring() -> None:
    classes = {name: value for name, value in PUBLIC.items() if inspect.isclass(value)}
    assert [name for name, kind in classes.items() if not inspect.getdoc(kind)] == []
    assert [
        f"{name}.{method}"
        for name, kind in classes.items()
        for method, member in methods(kind)
        if not inspect.getdoc(member)
    ] == []
