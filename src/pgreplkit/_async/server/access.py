"""Asking which line of pg_hba.conf decides, and adding one on this host."""

from __future__ import annotations

from pathlib import Path

from pgreplkit._async.wire.link import AsyncLink
from pgreplkit.catalog.server.access import HBA_RULES
from pgreplkit.catalog.server.roles import GROUPS
from pgreplkit.catalog.server.settings import CURRENT_SETTING, RELOAD
from pgreplkit.errors import HostFileError, RoleNotFound
from pgreplkit.host.configfiles import hba_line, insert_line, restore
from pgreplkit.plans.server.access import AccessRequest, AccessVerdict, decide_access

_GRANT = "SELECT ON pg_hba_file_rules; EXECUTE ON FUNCTION pg_hba_file_rules()"


async def check_access(link: AsyncLink, asked: AccessRequest) -> AccessVerdict:
    """The verdict of the file as it is on disk now."""
    tried = f"check the access of the role {asked.role!r}"
    line = hba_line(asked)
    groups = [record["name"] for record in await link.all(tried, GROUPS, [asked.role])]
    if not groups:
        raise RoleNotFound(tried, "there is no role of that name")
    sql = HBA_RULES.sql(link.version.major)
    records = await link.all(tried, sql, grant=_GRANT)
    rules = [HBA_RULES.read(record) for record in records]
    major = link.version.major
    return decide_access(asked, rules, groups=groups, line=line, has_regexes=major >= 16)


async def allow_access(link: AsyncLink, asked: AccessRequest) -> AccessVerdict:
    """Add the line that is missing, if one is, and reload."""
    verdict = await check_access(link, asked)
    tried = f"let the role {asked.role!r} in"
    if verdict.errors:
        raise HostFileError(tried, f"no change of pg_hba.conf counts: {_said(verdict)}")
    if verdict.allowed:
        # It may have been written, and not loaded yet.
        await _reload(link, tried)
        return verdict
    file = await link.one(tried, CURRENT_SETTING, ["hba_file"], grant="pg_read_all_settings")
    ahead_of = next(iter(verdict.undecided), verdict.rule)
    path = Path((ahead_of and ahead_of.file_name) or file["current_setting"])
    backup = insert_line(path, verdict.line, before=ahead_of.line_number if ahead_of else None)
    try:
        after = await check_access(link, asked)
        if not after.allowed or after.errors:
            found = _said(after) or "the server does not go by that line: see ``undecided``"
            raise HostFileError(tried, f"{found}; {path} is as it was")
        await _reload(link, tried)
    except BaseException:
        restore(path, backup)
        raise
    return after


async def _reload(link: AsyncLink, tried: str) -> None:
    await link.one(tried, RELOAD, grant="EXECUTE ON FUNCTION pg_reload_conf()")


def _said(verdict: AccessVerdict) -> str:
    lines = (*verdict.errors, *verdict.unmatchable)
    return "; ".join(f"line {rule.line_number}: {rule.error}" for rule in lines)
