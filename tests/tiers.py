"""The choice of servers and colours for a live test.

The gate runs each live test on the oldest and the newest server that it supports and on two
between; `nox -s matrix -- --full` runs it on all of them, in both colours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random

import attrs
from packaging.specifiers import SpecifierSet

COLOURS = ("sync", "async")
_SAMPLE = 4


@attrs.frozen
class Run:
    """One run of a live test: a server's major version and a colour."""

    major: int
    colour: str

    def __str__(self) -> str:
        return f"{self.colour}-pg{self.major}"


def supported(majors: Iterable[int], specs: Iterable[str]) -> list[int]:
    """Return the majors that fit every specifier, oldest first."""
    fitting = SpecifierSet(",".join(specs))
    return sorted(major for major in majors if fitting.contains(str(major)))


def sampled(majors: Sequence[int], test: str) -> list[int]:
    """Return the oldest and the newest of `majors`, and two between that depend on the test's name.

    The name seeds the choice, so that a run tests what the run before it tested, while different
    tests cover different majors.
    """
    if len(majors) <= _SAMPLE:
        return list(majors)
    oldest, *between, newest = majors
    return [oldest, *sorted(Random(test).sample(between, _SAMPLE - 2)), newest]


def alternating(majors: Sequence[int]) -> list[Run]:
    """Return one run on each major; the colours alternate, and the newest is sync.

    The fast suite runs the newest in async.
    """
    if len(majors) == 1:
        return every(majors)
    colours = (COLOURS[place % 2] for place in range(len(majors)))
    return [Run(*pair) for pair in zip(reversed(majors), colours, strict=True)][::-1]


def every(majors: Sequence[int], colours: Sequence[str] = COLOURS) -> list[Run]:
    """Return a run in each colour on each major."""
    return [Run(major, colour) for major in majors for colour in colours]
