"""Severities are ordered, also those of later versions."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from pgreplkit.rows import Finding, Severity
from pgreplkit.values.finding import worst_of

KNOWN = [Severity.OK, Severity.INFO, Severity.WARNING, Severity.CRITICAL]
severities = st.sampled_from(KNOWN)


def test_severities_rise_from_ok_to_critical() -> None:
    assert sorted([*KNOWN[2:], *KNOWN[:2]]) == KNOWN
    for lower, higher in pairwise(KNOWN):
        assert lower < higher
        assert lower <= higher
        assert not lower > higher
        assert not lower >= higher


@pytest.mark.parametrize("word", ["critical", Severity.CRITICAL])
def test_a_severity_compares_with_its_word(word: str) -> None:
    assert word > Severity.WARNING
    assert word <= Severity.CRITICAL


def test_an_unknown_severity_is_worse_than_all_known_ones() -> None:
    unknown = Severity("fatal")
    assert all(known < unknown for known in KNOWN)
    assert max([*KNOWN, unknown]) == unknown


@given(st.lists(severities))
def test_the_worst_of_findings_is_their_highest_severity(found: list[Severity]) -> None:
    findings = [Finding(check="c", severity=one, found="", needed="") for one in found]
    assert worst_of(findings) == max(found, default=Severity.OK)
    assert all(one <= worst_of(findings) for one in found)
