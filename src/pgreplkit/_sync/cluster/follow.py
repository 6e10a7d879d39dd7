# Generated from pgreplkit/_async/cluster/follow.py by `nox -s sync`. Do not edit.
"""Follow: check a standby's history, set its upstream, and wait until it streams."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial

import attrs
from psycopg.sql import SQL, Identifier, Literal

from pgreplkit._sync._io import sleep
from pgreplkit._sync.cluster.hosts import alter_system_findings
from pgreplkit._sync.cluster.site import Site
from pgreplkit._sync.cluster.standbylimits import limits_findings
from pgreplkit._sync.cluster.upstream import Joining, serving_findings
from pgreplkit._sync.server.server import Server
from pgreplkit._sync.standby import Standby
from pgreplkit.catalog.features import has
from pgreplkit.catalog.server.receivers import Upstream, lasting_slot
from pgreplkit.catalog.server.settingcommands import RELOAD, SET
from pgreplkit.driver.backoff import Backoff
from pgreplkit.errors import ControlFailed, Error, InsufficientPrivilege, ServerError, WaitTimeout
from pgreplkit.host.recoveryfiles import is_standby, major_of, write_standby_files
from pgreplkit.plans.cluster.follow import FollowFacts, can_follow, follow_findings, follow_steps
from pgreplkit.plans.cluster.standbyconfig import StandbyConfig, standby_config
from pgreplkit.plans.cluster.steps import Demote, Follow, StartStandby
from pgreplkit.values.conninfosyntax import parse_conninfo
from pgreplkit.values.finding import Finding, Severity

_SETTLED_AFTER = 0.3
"""Seconds for the upstream to reject a new walreceiver, for example for a missing slot. Before that
the receiver already reports that it streams; one that still does afterwards was accepted."""
# The connection string may contain a password, which must not be written to the server's log.
_QUIET = [
    SQL(SET).format(Identifier(name), Literal(value))
    for name, value in {
        "log_statement": "none",
        "log_min_duration_statement": "-1",
        "log_min_error_statement": "panic",
    }.items()
]


@attrs.frozen
class FollowChecks:
    """The checks of a plan that lets a standby follow another server."""

    site: Site
    facts: FollowFacts

    def findings(self) -> list[Finding]:
        """Return one finding for each check."""
        name = self.facts.standby.name
        with (
            self.site.standby(name) as standby,
            self.site.server(self.facts.upstream.name) as upstream,
        ):
            history = history_finding(standby, upstream)
        found = follow_findings(self.facts, history, has_control=name in self.site.controls)
        facts = self.facts
        joining = Joining(name, facts.application_name, facts.client_address)
        serving = serving_findings(
            self.site,
            facts.upstream,
            [] if facts.is_attached else [joining],
            [] if facts.keeps_slot else [facts.slot],
        )
        altering = alter_system_findings(
            self.site,
            follow_steps(facts, ""),
            changes_timeline=facts.standby.timeline != facts.upstream.timeline,
        )
        limits = limits_findings(self.site, facts.upstream.name, running=(facts.standby.name,))
        return [*found, *serving, *altering, *limits]


def history_finding(standby: Server, upstream: Server) -> Finding:
    """Check that the standby's WAL is part of the upstream's history."""
    # The standby is asked first: WAL that the upstream writes in the meantime must not count
    # against it.
    own = attrs.evolve(standby.identity(), timeline=standby._reached_timeline())
    its = upstream.identity()
    return can_follow(
        own,
        its,
        upstream._history(its.timeline),
        upstream_writes=not upstream.is_in_recovery(),
    )


def follow(site: Site, step: Follow) -> None:
    """Connect a running standby to the upstream, and wait until it streams from there."""
    operation = f"let {step.node} follow {step.upstream}"
    needs_restart = not has("standby.reloaded_upstream", step.major)
    if needs_restart and not site.controlled(step.node, lambda c: c.is_running()):
        # An interrupted attempt stopped the server and did not start it.
        _start(site, operation, step.node)
    conninfo = site.conninfo_for(step.node, step.upstream, step.application_name)

    def is_requested(source: Upstream) -> bool:
        return lasting_slot(source) == (step.slot or None) and _is_at(source, conninfo)

    with site.standby(step.node) as standby:
        major = standby.version.major
        # A standby that already streams from there needs no check: the upstream has accepted it.
        if _receiver(standby, partial(_is_at, conninfo=conninfo)) is None:
            with site.server(step.upstream) as upstream:
                finding = history_finding(standby, upstream)
            if finding.severity is Severity.CRITICAL:
                raise ServerError(operation, f"{finding.found}: {finding.remedy}")
        config = _config(conninfo, step.slot, major)
        by_sql = has("standby.recovery_settings", major)
        # By SQL no access to the host is needed; before 12 the setting is in recovery.conf.
        if by_sql:
            _set_by_sql(operation, standby, config.settings["primary_conninfo"], step.slot)
    if not by_sql:
        site.controlled(step.node, lambda control: write_standby_files(control, config))
    if needs_restart:
        site.controlled(step.node, lambda control: control.restart())
    _until_streaming(site, step.node, is_requested)


def demote(site: Site, step: Demote) -> None:
    """Write the files that make a stopped server a standby."""
    control = site.control(step.node)
    if site.controlled(step.node, lambda control: control.is_running()):
        operation = f"make {step.node} a standby of {step.upstream}"
        raise ControlFailed(operation, "the server is running; stop it first")
    major = site.controlled(step.node, major_of)
    conninfo = site.conninfo_for(step.node, step.upstream, step.application_name)
    config = _config(conninfo, step.slot, major)
    site.controlled(step.node, lambda _: write_standby_files(control, config))


def start_standby(site: Site, step: StartStandby) -> None:
    """Start a server that is configured as a standby, and wait until it streams."""
    operation = f"start {step.node} as a standby"
    _start(site, operation, step.node)
    conninfo = site.conninfo_for(step.node, step.upstream, None)
    _until_streaming(site, step.node, partial(_is_at, conninfo=conninfo))


def _start(site: Site, operation: str, node: str) -> None:
    if not site.controlled(node, is_standby):
        raise ControlFailed(operation, "it is configured as a primary, and was not started")
    site.controlled(node, lambda control: control.start())


def _set_by_sql(operation: str, standby: Standby, conninfo: str, slot: str | None) -> None:
    with contextlib.suppress(InsufficientPrivilege):
        # Only a superuser may turn off logging; other roles continue with it.
        standby._link.run(operation, *_QUIET)
    for name, value in {"primary_conninfo": conninfo, "primary_slot_name": slot or ""}.items():
        standby._link.write_setting(operation, name, value)
    standby._link.one(operation, RELOAD, grant="EXECUTE ON FUNCTION pg_reload_conf()")


def _config(conninfo: str, slot: str | None, major: int) -> StandbyConfig:
    return standby_config(conninfo, server_version=major, slot=slot)


def _is_at(source: Upstream, conninfo: str) -> bool:
    """Return whether a walreceiver is connected to one of the hosts of a connection string."""
    target = parse_conninfo(conninfo)
    addresses, names = (target.get(key, "").split(",") for key in ("hostaddr", "host"))
    ports = [port or "5432" for port in target.get("port", "5432").split(",")]
    # libpq uses one port for all hosts.
    ports *= max(len(names), len(addresses)) if len(ports) == 1 else 1
    places = [
        (host, port)
        for hosts in (names, addresses)
        for host, port in zip(hosts, ports, strict=False)
        if host
    ]
    # Without a host libpq chose a Unix socket, and there is nothing to compare with.
    return not places or (source.host, str(source.port or 5432)) in places


def _receiver(standby: Standby, is_right: Callable[[Upstream], bool]) -> int | None:
    """Return the pid of the walreceiver if it streams from the right upstream."""
    status, source = standby.replay_status(), standby.upstream()
    if source is None or not status.is_streaming or not is_right(source):
        return None
    return status.receiver_pid


def _until_streaming(site: Site, node: str, is_right: Callable[[Upstream], bool]) -> None:
    backoff = Backoff(site.timeout)
    before: int | None = None
    while True:
        receiver, found = _streaming(site, node, is_right)
        # A receiver that the upstream is about to reject reports streaming, too.
        if receiver is not None and receiver == before:
            return
        # A receiver that first appears at the deadline is checked once more.
        if backoff.is_over and (receiver is None or before is not None):
            raise WaitTimeout(
                f"timed out after {site.timeout:g} s waiting until {node} streams: {found}; see its"
                " server log"
            )
        before = receiver
        sleep(backoff.next_pause() if receiver is None else _SETTLED_AFTER)


def _streaming(
    site: Site, node: str, is_right: Callable[[Upstream], bool]
) -> tuple[int | None, str]:
    """Return the pid of the walreceiver if it streams, and the state of the standby."""
    try:
        with site.standby(node) as standby:
            receiver = _receiver(standby, is_right)
            lag = standby.replay_lag()
            return receiver, f"it is {lag.reason}"
    except Error as error:
        return None, str(error)
