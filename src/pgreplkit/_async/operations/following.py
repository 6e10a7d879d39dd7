"""Letting a server follow another: what is asked before, what is written, what is waited for."""

from __future__ import annotations

import contextlib

import attrs
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Identifier, Literal

from pgreplkit._async._io import sleep
from pgreplkit._async.operations.site import AsyncSite
from pgreplkit._async.server import AsyncServer
from pgreplkit._async.standby import AsyncStandby
from pgreplkit._pace import Pace
from pgreplkit._recoveryfiles import is_standby, major_of, write_standby_files
from pgreplkit.catalog.settings import RELOAD
from pgreplkit.errors import ControlFailed, Error, InsufficientPrivilege, ServerError, WaitTimeout
from pgreplkit.plans import following
from pgreplkit.plans.standby_config import StandbyConfig, standby_config
from pgreplkit.plans.steps import Demote, Follow, StartStandby
from pgreplkit.values.finding import Finding, Severity

_QUIET = [
    SQL("SET {} = {}").format(Identifier(name), Literal(value))
    for name, value in {
        "log_statement": "none",
        "log_min_duration_statement": "-1",
        "log_min_error_statement": "panic",
    }.items()
]


async def history_finding(standby: AsyncServer, upstream: AsyncServer) -> Finding:
    """Whether a standby can follow that upstream."""
    # In this order: what the upstream writes meanwhile does not count against the standby.
    own = attrs.evolve(await standby.identity(), timeline=await standby._reached_timeline())
    its = await upstream.identity()
    return following.can_follow(
        own,
        its,
        await upstream._history(its.timeline),
        upstream_writes=not await upstream.is_in_recovery(),
    )


async def follow(site: AsyncSite, step: Follow) -> None:
    """Let a running standby follow the upstream, and wait until it streams from there."""
    tried = f"let {step.node} follow {step.upstream}"
    conninfo = await site.conninfo_for(step.node, step.upstream, step.application_name)
    async with await site.standby(step.node) as standby:
        major = standby.version.major
        if not await _is_streaming_from(standby, conninfo):
            async with await site.server(step.upstream) as upstream:
                finding = await history_finding(standby, upstream)
            if finding.severity is Severity.CRITICAL:
                raise ServerError(tried, f"{finding.found}: {finding.remedy}")
        if major >= 12:
            await _set_by_sql(tried, standby, conninfo, step.slot)
    if major < 12:
        config = _config(conninfo, step.slot, major)
        await site.controlled(step.node, lambda control: write_standby_files(control, config))
    if major < 13:
        await site.controlled(step.node, lambda control: control.restart())
    await _until_streaming(site, tried, step.node, conninfo)


async def demote(site: AsyncSite, step: Demote) -> None:
    """Make a stopped server's files those of a standby."""
    control = site.control(step.node)
    if await site.controlled(step.node, lambda control: control.is_running()):
        tried = f"make {step.node} a standby of {step.upstream}"
        raise ControlFailed(tried, "it runs, and its files are changed while it is stopped only")
    major = await site.controlled(step.node, major_of)
    conninfo = await site.conninfo_for(step.node, step.upstream, step.application_name)
    config = _config(conninfo, step.slot, major)
    await site.controlled(step.node, lambda _: write_standby_files(control, config))


async def start_standby(site: AsyncSite, step: StartStandby) -> None:
    """Start a server whose files are a standby's, and wait until it streams."""
    tried = f"start {step.node} as a standby"
    if not await site.controlled(step.node, is_standby):
        raise ControlFailed(tried, "its files are those of a primary: it was not started")
    await site.controlled(step.node, lambda control: control.start())
    conninfo = await site.conninfo_for(step.node, step.upstream, None)
    await _until_streaming(site, tried, step.node, conninfo)


async def _set_by_sql(tried: str, standby: AsyncStandby, conninfo: str, slot: str | None) -> None:
    with contextlib.suppress(InsufficientPrivilege):
        # A connection string may hold a password, which is nothing for the server's log.
        await standby._link.run(tried, *_QUIET)
    for name, value in {"primary_conninfo": conninfo, "primary_slot_name": slot or ""}.items():
        statement = SQL("ALTER SYSTEM SET {} = {}").format(Identifier(name), Literal(value))
        await standby._link.run(tried, statement, grant=f"ALTER SYSTEM ON PARAMETER {name}")
    await standby._link.one(tried, RELOAD, grant="EXECUTE ON FUNCTION pg_reload_conf()")


def _config(conninfo: str, slot: str | None, major: int) -> StandbyConfig:
    return standby_config(conninfo, server_version=major, slot=slot)


async def _is_streaming_from(standby: AsyncStandby, conninfo: str) -> bool:
    source, target = await standby.upstream(), conninfo_to_dict(conninfo)
    if source is None or not (await standby.replay_status()).is_streaming:
        return False
    hosts = {str(target.get(name)) for name in ("host", "hostaddr") if target.get(name)}
    ports = {str(target.get("port") or 5432)}
    return (source.host in hosts or not hosts) and str(source.port) in ports


async def _until_streaming(site: AsyncSite, tried: str, node: str, conninfo: str) -> None:
    pace = Pace(site.timeout)
    while True:
        try:
            async with await site.standby(node) as standby:
                if await _is_streaming_from(standby, conninfo):
                    return
                lag = await standby.replay_lag()
                found = f"it is {lag.reason}"
        except Error as error:
            found = str(error)
        if pace.is_over:
            raise WaitTimeout(
                f"{tried}: it does not stream after {site.timeout:g} s, {found}; its log says why"
            )
        await sleep(pace.next_pause())
