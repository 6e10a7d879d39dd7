# Generated from pgreplkit/_async/cluster/rejoin.py by `nox -s sync`. Do not edit.
"""Rejoin: read what decides how a former primary comes back as a standby."""

from __future__ import annotations

import attrs

from pgreplkit._sync.cluster.hosts import leads_to
from pgreplkit._sync.cluster.rewind import read_rewind
from pgreplkit._sync.cluster.site import Site
from pgreplkit._sync.cluster.standbylimits import limits_findings
from pgreplkit._sync.cluster.upstream import Joining, ip_of, serving_findings
from pgreplkit.errors import ControlFailed, ServerError
from pgreplkit.host.facts import read_host
from pgreplkit.host.nodecontrol import NodeControl
from pgreplkit.host.recoveryfiles import control_file, is_standby
from pgreplkit.plans.cluster.hosts import rewind_host_findings, standby_host_findings
from pgreplkit.plans.cluster.rejoin import RejoinFacts, rejoin_findings
from pgreplkit.plans.cluster.topology import ClusterNode
from pgreplkit.values.finding import Finding


def read_rejoin(
    site: Site, node: ClusterNode, primary: ClusterNode, *, slot: str | None
) -> RejoinFacts:
    """Read the state of a server that will follow the primary.

    Raises:
        ControlFailed: If the server has no control, or that of the primary.
        ServerError: If the primary's timeline history cannot be read.
    """
    name = node.name
    # Running or not is read before the control file: a server that stops in between has a
    # control file that is newer than necessary, and never one that is older.
    is_running = site.controlled(name, lambda control: control.is_running())
    # The name may be another one of the primary, which would be stopped.
    if is_running and leads_to(site, name, primary.name):
        raise ControlFailed(
            f"rejoin {name}",
            f"its control acts on the primary {primary.name}",
            remedy=f"pass the control of {name}, if that is another server",
        )
    control = site.controlled(name, control_file)
    if primary.history is None:
        found = f"the history of the primary's timeline {primary.timeline} cannot be read"
        raise ServerError(f"compare {name} with {primary.name}", found)
    return RejoinFacts(
        name=name,
        primary=primary,
        history=primary.history,
        control=control,
        is_running=is_running,
        slot=slot,
        application_name=site.name_of(name),
        slots=site.controlled(name, _slots_of_a_primary),
        primary_slot=(site.upstream_settings(primary)).slot,
        client_address=ip_of(node.host),
        is_attached=node.upstream == primary.name,
    )


def _slots_of_a_primary(control: NodeControl) -> tuple[str, ...]:
    if is_standby(control):
        return ()
    # A standby's slots are in use by its own receivers; those of a former primary retain WAL until
    # they are dropped.
    return tuple(control.list_folder(f"{control.data_directory}/pg_replslot") or ())


@attrs.frozen
class RejoinChecks:
    """The checks of a rejoin."""

    site: Site
    facts: RejoinFacts

    def findings(self) -> list[Finding]:
        """Return one finding for each check."""
        facts, rewind = self.facts, None
        if facts.divergence.needs_rewind:
            source = facts.primary.name
            rewind = read_rewind(
                self.site, facts.name, source, facts.control, is_running=facts.is_running
            )
        name = facts.name
        host = self.site.controlled(name, lambda control: read_host(control, name))
        findings = [*rejoin_findings(facts, rewind), *standby_host_findings(host)]
        rewinding = () if rewind is None else rewind_host_findings(host)
        joining = Joining(name, facts.application_name, facts.client_address)
        serving = serving_findings(
            self.site,
            facts.primary,
            [] if facts.is_attached else [joining],
            [] if facts.is_attached else [facts.slot],
        )
        limits = limits_findings(self.site, facts.primary.name, starting=name)
        return [*findings, *rewinding, *serving, *limits]
