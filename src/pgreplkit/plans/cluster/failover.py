"""Evidence that a primary is lost: what it answers, and what its standbys report."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from pgreplkit.values.finding import Finding, Severity
from pgreplkit.values.openenum import OpenEnum


class Reply(OpenEnum):
    """What came back from a connection attempt."""

    ACCEPTED = "accepted"
    """The server takes connections; it may ask for a password, or refuse this role."""
    REFUSED = "refused"
    """The server runs and takes no connections now: it starts up, recovers, or shuts down."""
    SILENT = "silent"
    """Nothing answered."""
    NOT_ASKED = "not asked"
    """The attempt was not made: the connection string cannot be used."""

    @property
    def is_alive(self) -> bool:
        """Whether a server answered, in whatever words."""
        return self in {Reply.ACCEPTED, Reply.REFUSED}


@attrs.frozen(kw_only=True)
class StandbyReport:
    """What a standby says about its connection to the primary."""

    name: str
    streams: bool | None
    """Whether its walreceiver streams; None if that is not known."""
    reply: Reply
    said: str = ""
    """Why it is not known."""


def connection_evidence(primary: str, address: str, reply: Reply, said: str) -> Finding:
    """Return whether the primary answers nothing from here.

    Any answer means that the server is alive: one that recovers after a crash, or waits in a smart
    shutdown for its last clients, still writes, or will write again. ``said`` is its answer.
    """
    observed = {
        Reply.SILENT: f"no connection: {address} does not answer",
        Reply.NOT_ASKED: f"it was not asked: {said}",
        Reply.REFUSED: f"it answers, and takes no connections now: {said}",
    }.get(reply, f"it answers: {said}")
    remedy = {
        Reply.SILENT: "",
        Reply.NOT_ASKED: "correct the connection string",
        Reply.REFUSED: f"wait: if {primary} starts up or recovers, until it takes connections, and"
        " then no failover is needed; if it shuts down, until it no longer answers",
    }.get(reply, f"switchover() is for a primary that runs; else stop {primary} first")
    return Finding(
        check="connection",
        severity=Severity.OK if reply is Reply.SILENT else Severity.CRITICAL,
        found=" ".join(observed.split()),  # libpq's texts have several lines
        needed=f"no answer of any kind from {primary}",
        remedy=remedy,
    )


def standbys_evidence(primary: str, reports: Sequence[StandbyReport]) -> Finding:
    """Return whether no standby streams from the primary.

    A standby that is lost together with the primary is no obstacle. One that answers without
    saying whether it streams is: it may be a primary by now, or still receive.
    """
    streaming = [report.name for report in reports if report.streams]
    unknown = [report for report in reports if report.streams is None]
    unclear = [report for report in unknown if report.reply is not Reply.SILENT]
    silent = [report.name for report in unknown if report.reply is Reply.SILENT]
    parts = [f"{', '.join(streaming) or 'none'} streams from it"]
    parts += [f"{report.name} does not say: {report.said}" for report in unclear]
    parts += [f"{', '.join(silent)} did not answer"] if silent else []
    asked_none = len(unknown) == len(reports)
    is_lost = not streaming and not unclear and not asked_none
    return Finding(
        check="standbys",
        severity=Severity.OK if is_lost else Severity.CRITICAL,
        found=" ".join("; ".join(parts).split()),
        needed=f"no standby streams from {primary}, by the word of each standby that answers",
        remedy="" if is_lost else "wait until its standbys have lost it, or stop it",
    )
