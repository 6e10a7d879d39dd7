"""The choice of servers and colours for a live test.

The gate runs each live test on the oldest and the newest server that it supports and on two
between, with the newest in the fast suite. One that takes long is left to the matrix, on one
between.
`nox -s matrix -- --full` runs it on all of them, in both colours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random

import attrs
from packaging.specifiers import SpecifierSet

COLOURS = ("sync", "async")
SAMPLE, SLOW_SAMPLE = 4, 3
"""The servers for a test, and for one that takes long."""


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


def sampled(majors: Sequence[int], test: str, *, is_slow: bool) -> list[int]:
    """Return the oldest of `majors` and two more, which depend on the test's name.

    The name seeds the choice, so that a run tests what the run before it tested, while different
    tests cover different majors. The newest is among them if the test ``is_slow``, or it is the
    only one; otherwise it is left to the fast suite.
    """
    sample, size = list(majors), SLOW_SAMPLE if is_slow else SAMPLE
    if len(majors) > size:
        oldest, *between, newest = majors
        sample = [oldest, *sorted(Random(test).sample(between, size - 2)), newest]
    return sample if is_slow or len(sample) == 1 else sample[:-1]


def alternating(majors: Sequence[int]) -> list[Run]:
    """Return one run on each major; the colours alternate, and each occurs."""
    if len(majors) == 1:
        return every(majors)
    colours = (COLOURS[place % 2] for place in range(len(majors)))
    return [Run(*pair) for pair in zip(reversed(majors), colours, strict=True)][::-1]


def every(majors: Sequence[int], colours: Sequence[str] = COLOURS) -> list[Run]:
    """Return a run in each colour on each major."""
    return [Run(major, colour) for major in majors for colour in colours]
