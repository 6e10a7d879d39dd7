"""Checks of pg_hba.conf through the server, and new lines in it on this host."""

from __future__ import annotations

from pathlib import Path

from pgreplkit._async.wire.link import AsyncLink
from pgreplkit.catalog.server.access import HBA_RULES
from pgreplkit.catalog.server.roles import GROUPS
from pgreplkit.catalog.server.settingcommands import CURRENT_SETTING, RELOAD
from pgreplkit.errors import HostFileError, RoleNotFound
from pgreplkit.host.configfiles import hba_line, insert_line, restore
from pgreplkit.plans.server.access import AccessRequest, AccessVerdict, decide_access

_GRANT = "SELECT ON pg_hba_file_rules; EXECUTE ON FUNCTION pg_hba_file_rules()"


async def check_access(link: AsyncLink, asked: AccessRequest) -> AccessVerdict:
    """Return the decision of the file as it is on disk now."""
    operation = f"check access of role {asked.role!r}"
    line = hba_line(asked)
    groups = [record["name"] for record in await link.all(operation, GROUPS, [asked.role])]
    if not groups:
        raise RoleNotFound(operation, "the role does not exist")
    sql = HBA_RULES.sql(link.version.major)
    records = await link.all(operation, sql, grant=_GRANT)
    rules = [HBA_RULES.read(record) for record in records]
    has_regexes = link.has("access.regexes")
    return decide_access(asked, rules, groups=groups, line=line, has_regexes=has_regexes)


async def allow_access(link: AsyncLink, asked: AccessRequest) -> AccessVerdict:
    """Insert the line that is missing, if any, and reload the configuration."""
    verdict = await check_access(link, asked)
    operation = f"allow access of role {asked.role!r}"
    if verdict.errors:
        found = f"errors in pg_hba.conf prevent any change: {_errors(verdict)}"
        raise HostFileError(operation, found)
    if verdict.allowed:
        # The line may be in the file, but not loaded yet.
        await _reload(link, operation)
        return verdict
    file = await link.one(operation, CURRENT_SETTING, ["hba_file"], grant="pg_read_all_settings")
    # The first matching line decides, so the new line comes before every line that may match.
    ahead_of = next(iter(verdict.undecided), verdict.rule)
    # From 16 on the line may be in an included file.
    path = Path((ahead_of and ahead_of.file_name) or file["current_setting"])
    backup = insert_line(path, verdict.line, before=ahead_of.line_number if ahead_of else None)
    # Check the new file before the server loads it: a broken file would block later reloads.
    try:
        after = await check_access(link, asked)
        if not after.allowed or after.errors:
            found = _errors(after) or "the server does not use the new line: see ``undecided``"
            raise HostFileError(operation, f"{found}; {path} is unchanged")
        await _reload(link, operation)
    except BaseException:
        restore(path, backup)
        raise
    return after


async def _reload(link: AsyncLink, operation: str) -> None:
    await link.one(operation, RELOAD, grant="EXECUTE ON FUNCTION pg_reload_conf()")


def _errors(verdict: AccessVerdict) -> str:
    lines = (*verdict.errors, *verdict.unmatchable)
    return "; ".join(f"line {rule.line_number}: {rule.error}" for rule in lines)
