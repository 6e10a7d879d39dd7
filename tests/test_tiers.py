"""The choice of servers and colours for live tests."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from tiers import COLOURS, alternating, every, sampled, supported

MAJORS = list(range(10, 19))
some_majors = st.sets(st.sampled_from(MAJORS), min_size=1).map(sorted)


@given(majors=some_majors, test=st.text())
def test_a_sample_has_both_ends_and_at_most_two_between(majors: list[int], test: str) -> None:
    sample = sampled(majors, test)
    assert sample == sorted({*sample})
    assert {majors[0], majors[-1]} <= {*sample} <= {*majors}
    assert len(sample) == min(len(majors), 4)
    assert sampled(majors, test) == sample


def test_samples_of_many_tests_cover_every_major() -> None:
    samples = [sampled(MAJORS, f"test_{number}") for number in range(100)]
    counts = {major: sum(major in sample for sample in samples) for major in MAJORS}
    assert min(counts.values()) > 10


@given(majors=some_majors)
def test_every_test_runs_in_each_colour(majors: list[int]) -> None:
    runs = alternating(majors)
    assert {run.major for run in runs} == {*majors}
    assert {run.colour for run in runs} == {*COLOURS}
    assert len(runs) == max(len(majors), 2)


@given(majors=some_majors, test=st.text())
def test_the_newest_can_be_left_to_the_fast_suite(majors: list[int], test: str) -> None:
    without = sampled(majors, test, newest_too=False)
    assert without
    assert {*sampled(majors, test)} - {*without} <= {majors[-1]}


@given(majors=some_majors)
def test_the_full_matrix_has_every_pair(majors: list[int]) -> None:
    assert len({*every(majors)}) == len(majors) * len(COLOURS)


@pytest.mark.parametrize(
    ("specs", "fitting"),
    [([], MAJORS), ([">=16"], [16, 17, 18]), (["<12"], [10, 11]), ([">=14", "<16"], [14, 15])],
)
def test_specifiers_choose_the_supported_majors(specs: list[str], fitting: list[int]) -> None:
    assert supported(reversed(MAJORS), specs) == fitting
