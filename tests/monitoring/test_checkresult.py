"""CheckResult: thresholds and the lines that monitoring plugins print."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, strategies as st
from monitoringfacts import GONE, HIDDEN, down, primary, retention, sample, standby, unused_slot

from pgreplkit.checks import CheckResult, CheckStatus, PerformanceValue, Threshold
from pgreplkit.errors import InvalidThreshold
from pgreplkit.rows import LagReason, SchemaDrift


def test_the_other_problems_are_counted_and_listed_worst_first() -> None:
    result = CheckResult.of(
        sample(primary(slots=(unused_slot(),)), down("db2", HIDDEN), down("db3", GONE))
    )
    assert result.message.endswith("(and 2 more)")
    assert [line.split(":")[0] for line in str(result).split("\n")[1:]] == [
        "CRITICAL",
        "WARNING",
        "UNKNOWN",
    ]


def test_the_worst_of_several_checks_is_their_maximum() -> None:
    worst_last = [CheckStatus.OK, CheckStatus.UNKNOWN, CheckStatus.WARNING, CheckStatus.CRITICAL]
    assert sorted(CheckStatus) == worst_last
    assert [status.exit_code for status in worst_last] == [0, 3, 1, 2]


def test_a_threshold_limits_the_lag_of_each_standby() -> None:
    late = sample(primary(), standby("db2", LagReason.REPLAYING, 5000, 31))
    line = str(CheckResult.of(late, warning="30", critical="300")).split("\n")[0]
    assert line == (
        "WARNING - db2: lag_seconds is 31 s; the threshold is 30 | 'db1 retained_bytes'=0B"
        " 'db2 lag_seconds'=31s;30;300 'db2 lag_bytes'=5000B 'db2 retained_bytes'=0B"
    )
    assert CheckResult.of(late, critical={"lag_bytes": "@1000:9000"}).exit_code == 2
    assert CheckResult.of(late, warning=Threshold(end=31)).exit_code == 0
    retained = retention(unused_slot(), rate=1.0, disk=1 << 30)
    assert CheckResult.of(retained, critical={"time_left_seconds": "9000000000:"}).exit_code == 2


@pytest.mark.parametrize(
    ("rate", "disk", "code"), [(0.0, 1 << 30, 0), (0.0, None, 3), (None, 1 << 30, 3)]
)
def test_an_idle_server_does_not_reach_its_limit(
    rate: float | None, disk: int | None, code: int
) -> None:
    idle = retention(rate=rate, disk=disk)
    assert CheckResult.of(idle, critical={"time_left_seconds": "3600:"}).exit_code == code


def test_a_limit_of_an_unknown_or_missing_number_is_never_ok() -> None:
    behind = sample(primary(), standby("db2", LagReason.UPSTREAM_BEHIND, 5000, None))
    assert CheckResult.of(behind).exit_code == 0
    assert CheckResult.of(behind, warning="30").exit_code == 3
    assert CheckResult.of(primary(), warning="30").exit_code == 3


def test_thresholds_without_a_number_are_refused_with_the_known_names() -> None:
    with pytest.raises(ValueError, match="known are lag_seconds, lag_bytes, retained_bytes"):
        CheckResult.of(primary(), warning={"lag": "5"})
    with pytest.raises(ValueError, match="it has no number"):
        CheckResult.of(SchemaDrift(drifts=()), warning="5")
    with pytest.raises(InvalidThreshold):
        CheckResult.of(primary(), warning="many")
    with pytest.raises(TypeError, match="not str"):
        CheckResult.of("db1")  # type: ignore[arg-type]


@given(st.text(max_size=30))
def test_names_cannot_break_the_first_line(name: str) -> None:
    result = CheckResult.of(sample(standby(name, LagReason.NOT_STREAMING, None, None)))
    line, *others = str(result).split("\n")
    text, _, data = line.partition("|")
    assert not others
    assert text.startswith("CRITICAL - ")
    assert "|" not in data
    assert len(re.findall(r"(?:'(?:[^']|'')*'|[^' ]+)=U", data)) == 2


def test_the_dict_has_the_status_and_the_values() -> None:
    result = CheckResult.of(retention(), warning="1:")
    content = json.loads(json.dumps(result.to_dict()))
    assert (content["status"], content["exit_code"]) == ("OK", 0)
    assert content["performance"][0] == {
        "label": "directory_bytes",
        "value": 67108864,
        "unit": "B",
        "warning": "1:",
        "critical": None,
        "status": "OK",
    }
    value = PerformanceValue(label="it's", value=None, warning=Threshold.parse("5"))
    assert (str(value), value.status) == ("'it''s'=U;5", CheckStatus.UNKNOWN)
