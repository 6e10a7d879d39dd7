"""The choice of servers and colours for live tests."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from tiers import COLOURS, alternating, every, sampled, supported

MAJORS = list(range(10, 19))
some_majors = st.sets(st.sampled_from(MAJORS), min_size=1).map(sorted)


@given(majors=some_majors, test=st.text())
def test_a_slow_test_runs_on_both_ends_and_at_most_one_between(
    majors: list[int], test: str
) -> None:
    sample = sampled(majors, test, is_slow=True)
    assert sample == sorted({*sample})
    assert {majors[0], majors[-1]} <= {*sample} <= {*majors}
    assert len(sample) == min(len(majors), 3)
    assert sampled(majors, test, is_slow=True) == sample


@pytest.mark.parametrize("is_slow", [True, False])
def test_samples_of_many_tests_cover_every_major(is_slow: bool) -> None:
    samples = [sampled(MAJORS, f"test_{number}", is_slow=is_slow) for number in range(200)]
    counts = {major: sum(major in sample for sample in samples) for major in MAJORS}
    # The fast suite has the newest.
    assert min(count for major, count in counts.items() if is_slow or major != 18) > 10


@given(majors=some_majors)
def test_every_test_runs_in_each_colour(majors: list[int]) -> None:
    runs = alternating(majors)
    assert {run.major for run in runs} == {*majors}
    assert {run.colour for run in runs} == {*COLOURS}
    assert len(runs) == max(len(majors), 2)


@given(majors=some_majors, test=st.text())
def test_other_tests_leave_the_newest_to_the_fast_suite(majors: list[int], test: str) -> None:
    sample = sampled(majors, test, is_slow=False)
    assert sample[0] == majors[0]
    assert len({*sample, majors[-1]}) == min(len(majors), 4)
    assert majors[-1] not in sample or len(majors) == 1


@given(majors=some_majors)
def test_the_full_matrix_has_every_pair(majors: list[int]) -> None:
    assert len({*every(majors)}) == len(majors) * len(COLOURS)


@pytest.mark.parametrize(
    ("specs", "fitting"),
    [([], MAJORS), ([">=16"], [16, 17, 18]), (["<12"], [10, 11]), ([">=14", "<16"], [14, 15])],
)
def test_specifiers_choose_the_supported_majors(specs: list[str], fitting: list[int]) -> None:
    assert supported(reversed(MAJORS), specs) == fitting
