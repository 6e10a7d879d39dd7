"""Evidence that a primary is lost: any answer of a server is life."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from pgreplkit import Severity
from pgreplkit.driver.probe import single_hosts
from pgreplkit.plans.cluster.failover import (
    Reply,
    StandbyReport,
    connection_evidence,
    standbys_evidence,
)

reports = st.lists(
    st.builds(
        StandbyReport,
        name=st.sampled_from(["b", "c", "d"]),
        streams=st.none() | st.booleans(),
        reply=st.sampled_from([*Reply]),
        said=st.just("the database system is starting up"),
    ),
    max_size=3,
)


@given(st.sampled_from([*Reply]))
def test_only_silence_is_evidence_that_a_primary_is_lost(reply: Reply) -> None:
    finding = connection_evidence("a", "a:5432", reply, "FATAL:\n  starting up")
    assert (finding.severity is Severity.OK) == (reply is Reply.SILENT)
    assert "\n" not in finding.found


def test_a_primary_that_starts_up_is_waited_for() -> None:
    finding = connection_evidence(
        "a", "a:5432", Reply.REFUSED, "the database system is starting up"
    )
    assert finding.found.endswith("takes no connections now: the database system is starting up")
    assert finding.remedy.startswith("wait: if a starts up or recovers, until it takes connections")


@given(reports)
def test_a_primary_is_not_lost_while_a_standby_streams_or_does_not_say(
    told: list[StandbyReport],
) -> None:
    is_lost = standbys_evidence("a", told).severity is Severity.OK
    if any(report.streams for report in told):
        assert not is_lost
    if any(report.streams is None and report.reply is not Reply.SILENT for report in told):
        assert not is_lost
    if all(report.streams is None for report in told):
        assert not is_lost, "nobody was asked"
    if is_lost:
        assert any(report.streams is False for report in told)


def test_a_standby_lost_with_the_primary_is_no_obstacle() -> None:
    gone = StandbyReport(name="c", streams=None, reply=Reply.SILENT, said="no route")
    here = StandbyReport(name="b", streams=False, reply=Reply.ACCEPTED)
    finding = standbys_evidence("a", [here, gone])
    assert finding.severity is Severity.OK
    assert finding.found == "none streams from it; c did not answer"


@pytest.mark.parametrize(
    ("conninfo", "hosts"),
    [
        ("host=a", ["host=a"]),
        ("host=a,b port=1", ["host=a port=1", "host=b port=1"]),
        ("host=a,b port=1,2", ["host=a port=1", "host=b port=2"]),
        ("hostaddr=10.0.0.1,10.0.0.2", ["hostaddr=10.0.0.1", "hostaddr=10.0.0.2"]),
        (
            "postgresql://a,b/db?target_session_attrs=primary",
            ["dbname=db host=a", "dbname=db host=b"],
        ),
        ("service=db1 sslmode=verify-full sslrootcert=/x", ["service=db1"]),
    ],
)
def test_each_host_is_asked_whatever_its_role_and_encryption(
    conninfo: str, hosts: list[str]
) -> None:
    assert [*single_hosts(conninfo)] == hosts
