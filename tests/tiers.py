"""The choice of servers and colours for a live test.

The gate runs each live test on the oldest and the newest server that it supports and on two
between: on the newest in the fast suite, or in the matrix if it takes long.
`nox -s matrix -- --full` runs it on all of them, in both colours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random

import attrs
from packaging.specifiers import SpecifierSet

COLOURS = ("sync", "async")
SAMPLE = 4


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


def sampled(majors: Sequence[int], test: str, *, newest_too: bool = True) -> list[int]:
    """Return the oldest and the newest of `majors`, and two between that depend on the test's name.

    The name seeds the choice, so that a run tests what the run before it tested, while different
    tests cover different majors. Without ``newest_too``, the newest is left to the fast suite,
    unless it is the only one.
    """
    sample = list(majors)
    if len(majors) > SAMPLE:
        oldest, *between, newest = majors
        sample = [oldest, *sorted(Random(test).sample(between, SAMPLE - 2)), newest]
    return sample if newest_too or len(sample) == 1 else sample[:-1]


def alternating(majors: Sequence[int]) -> list[Run]:
    """Return one run on each major; the colours alternate, and each occurs."""
    if len(majors) == 1:
        return every(majors)
    colours = (COLOURS[place % 2] for place in range(len(majors)))
    return [Run(*pair) for pair in zip(reversed(majors), colours, strict=True)][::-1]


def every(majors: Sequence[int], colours: Sequence[str] = COLOURS) -> list[Run]:
    """Return a run in each colour on each major."""
    return [Run(major, colour) for major in majors for colour in colours]
