"""Functions that callers pass are checked before they are called."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import partial
from operator import itemgetter

import pytest

from pgreplkit.values.functions import insist_on_function


class Method:
    def one(self, row: object) -> object:
        return row

    def __call__(self, row: object, other: object = None) -> object:
        return row, other


async def later(row: object) -> object:
    return row


class Later:
    async def __call__(self, row: object) -> object:
        return row


def one_by_one(row: object) -> Iterator[object]:
    yield row


async def later_one_by_one(row: object) -> AsyncIterator[object]:
    yield row


class OneByOne:
    def __call__(self, row: object) -> Iterator[object]:
        yield row


@pytest.mark.parametrize(
    "function",
    [len, bool, itemgetter("a"), Method().one, Method(), partial(Method(), other=1), lambda *a: a],
)
def test_functions_of_one_argument_are_taken(function: object) -> None:
    insist_on_function(function, "where", takes=1)


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        ("id > 5", "where must be callable"),
        (None, "where must be callable"),
        (lambda: True, "where must take 1 argument: too many positional arguments"),
        (lambda a, b: True, "where must take 1 argument: missing a required argument: 'b'"),
        (Method.one, "missing a required argument: 'row'"),
        (later, "an ordinary function, not an async one"),
        (Later(), "an ordinary function, not an async one"),
        (one_by_one, "an ordinary function, not one with yield"),
        (partial(one_by_one), "an ordinary function, not one with yield"),
        (later_one_by_one, "an ordinary function, not one with yield"),
        (OneByOne(), "an ordinary function, not one with yield"),
    ],
)
def test_other_functions_are_refused(function: object, problem: str) -> None:
    with pytest.raises(TypeError, match=problem):
        insist_on_function(function, "where", takes=1)
