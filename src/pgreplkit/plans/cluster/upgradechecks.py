"""The preconditions of a major upgrade, as findings with their remedies."""

from collections.abc import Iterator, Mapping

import attrs

from pgreplkit._text import counted
from pgreplkit.catalog.cluster.upgrade import RoleRights
from pgreplkit.catalog.features import has
from pgreplkit.catalog.server.session import TIMEOUTS
from pgreplkit.errors.server import INSUFFICIENT_PRIVILEGE
from pgreplkit.plans.cluster.upgradedatabases import database_findings
from pgreplkit.plans.cluster.upgradefacts import Side, UpgradeFacts
from pgreplkit.plans.cluster.upgradefindings import named
from pgreplkit.plans.cluster.upgradetables import table_findings
from pgreplkit.plans.server.readiness import (
    checked,
    free_places,
    names_of,
    number,
    setting_found,
    value_of,
)
from pgreplkit.values.finding import EffectiveAfter, Finding, Severity
from pgreplkit.values.tablename import quoted

_WRONG_CONNINFO = {"42601", "2F003"}
"""SQLSTATEs of a connection string with a parameter that the server does not know, and of one
without the password that a role needs who is not a superuser."""
_FAULTS = {
    (16, 2): "deadlocks between applying and copying",
    (16, 3): "copies that race with the apply worker",
    (16, 4): "slots that start at a wrong position",
    (16, 5): "a position that moves on after an error",
    (16, 6): "a slot that goes back",
    (16, 9): "a position that is reset after an error",
    (16, 10): "deadlocks of DROP PUBLICATION",
    (16, 12): "a copy that is lost in a crash",
    (17, 2): "a slot that goes back",
    (17, 5): "a position that is reset after an error",
    (17, 6): "deadlocks of DROP PUBLICATION",
    (17, 8): "a copy that is lost in a crash",
    (18, 2): "a copy that is lost in a crash",
}
"""Faults of logical replication, by the release that fixed them: from the release notes."""

_OF_COPIES = {
    "old": ("max_replication_slots", "max_wal_senders"),
    "new": (
        "max_logical_replication_workers",
        "max_worker_processes",
        "max_active_replication_origins",
    ),
}
"""The settings that limit how many tables are copied at the same time."""


def upgrade_findings(facts: UpgradeFacts) -> Iterator[Finding]:
    """Return one finding for each precondition of the preparation."""
    yield from _servers(facts)
    if lack_rights(facts.old, facts.new):
        # A check that looked at nothing would say that there is no problem.
        return
    if facts.is_one or facts.new.major < facts.old.major or facts.new.leftovers:
        # They may be exchanged: remedies such as TRUNCATE would destroy the rows of the old one.
        return
    yield _truncate_finding(facts.old)
    yield from _limits(facts)
    yield from table_findings(facts)
    yield from database_findings(facts)


def lack_rights(*sides: Side) -> bool:
    """Return whether a role lacks rights, so that rows and sequences cannot be read."""
    return any(side.rights.missing for side in sides)


def _servers(facts: UpgradeFacts) -> Iterator[Finding]:
    old, new = facts.old, facts.new
    yield checked(
        "databases",
        ok=not facts.is_one,
        observed=f"one database, {old.facts.database}"
        if facts.is_one
        else f"{old.facts.database} of the old server, and {new.facts.database} of the new one",
        needed="two different databases",
        remedy="connect to the new server",
    )
    yield checked(
        "direction",
        ok=new.major >= old.major,
        observed=f"{old.major} to {new.major}",
        needed="a new server of the same or a newer major version",
        remedy="exchange the servers",
    )
    for name, side, other in (("old", old, "new"), ("new", new, "old")):
        yield release_finding(name, side)
        yield pooler_finding(name, side)
        yield rights_finding(name, side.rights)
        yield side_reach_finding(name, other, side)
        yield timeouts_finding(name, side)
    for name, side in (("old", old), ("new", new)):
        yield wal_level_finding(name, side)
        yield leftovers_finding(name, side)


def _truncate_finding(old: Side) -> Finding:
    """Return the finding about TRUNCATE: the new server would keep the rows."""
    replicates = has("publication.truncate", old.major)
    return checked(
        "TRUNCATE",
        ok=replicates,
        observed="it is replicated" if replicates else "it is not replicated before 11",
        needed="its replication, or none until the end of the upgrade",
        remedy="use DELETE instead; compare() finds the rows that the new server has kept",
        otherwise=Severity.WARNING,
    )


def release_finding(name: str, side: Side) -> Finding:
    """Return the finding about faults that later minor releases fixed."""
    faults = [
        f"{text} (fixed in {major}.{minor})"
        for (major, minor), text in _FAULTS.items()
        if major == side.version.major and minor > side.version.minor
    ]
    return checked(
        f"{name}: minor release",
        ok=not faults,
        observed=f"{side.version}: {'; '.join(faults) or 'no known faults'}",
        needed="a release without known faults of logical replication",
        remedy="install the latest minor release",
        otherwise=Severity.WARNING,
    )


def pooler_finding(name: str, side: Side) -> Finding:
    """Return the finding about the connection of this process."""
    return checked(
        f"{name}: connection",
        ok=not side.is_pooled,
        observed="a connection pooler" if side.is_pooled else "the server itself",
        needed="the server itself: a pooler may execute each transaction in another session, so"
        " that locks do not hold",
        remedy=f"connect to the {name} server itself",
    )


def rights_finding(name: str, rights: RoleRights) -> Finding:
    """Return the finding about the rights of the connecting role."""
    kind = "a superuser" if rights.is_superuser else "not a superuser"
    if rights.of_superusers:
        kind += f", whose rights it needs for {names_of(rights.of_superusers)}, unless they get"
        kind += " another owner"
    return checked(
        f"{name}: rights",
        ok=not rights.missing,
        observed=f"{rights.role} is {kind}",
        needed="a superuser, or a role with REPLICATION, pg_monitor, CREATE on the database, the"
        " functions of replication origins, the subscriptions, the user mappings, and the rights of"
        " the owners of the tables and of the upgrade's objects",
        remedy=f"connect to the {name} server as a superuser, or execute as one:"
        f" {'; '.join(rights.missing)}",
    )


def side_reach_finding(name: str, other: str, side: Side) -> Finding:
    """Return the finding about the connection of one server to the other, which it tried."""
    found = reach_finding(name, other, side.connection_error)
    code = side.connection_sqlstate
    if code == INSUFFICIENT_PRIVILEGE:
        # The server refused the subscription before it connected.
        may_grant = has("subscription.creator", side.major)
        role = quoted(side.rights.role)
        granted = (
            f", or GRANT pg_create_subscription TO {role}; GRANT CREATE ON DATABASE"
            f" {quoted(side.facts.database)} TO {role}"
        )
        return attrs.evolve(
            found,
            needed=f"a role of the {name} server that may create subscriptions",
            remedy=f"connect to the {name} server as a superuser{granted if may_grant else ''}",
        )
    if code in _WRONG_CONNINFO:
        remedy = f"pass another connection string in replication={{{other!r}: …}}"
        return attrs.evolve(found, remedy=remedy)
    return found


def reach_finding(name: str, other: str, error: str) -> Finding:
    """Return the finding about the connection of one server to the other."""
    return checked(
        f"{name} reaches {other}",
        ok=not error,
        observed=error or "it connects",
        needed=f"a connection with REPLICATION from the {name} server to the {other} one",
        remedy=f"allow it in pg_hba.conf of the {other} server, for a role with REPLICATION, or"
        f" pass a connection string in replication={{{other!r}: …}}",
    )


def programs_finding(programs: Mapping[str, int | str], *, old: int, new: int) -> Finding:
    """Return the finding about pg_dump and pg_restore, which copy the schema.

    ``programs`` has their major versions, or the errors with which they were started.
    """
    majors = [one for one in programs.values() if isinstance(one, int)]
    # pg_dump refuses a newer server, and pg_restore an archive of a newer pg_dump.
    can_copy = len(majors) == len(programs) and old <= majors[0] <= majors[1]
    return checked(
        "programs",
        ok=can_copy and {*majors} == {new},
        observed="; ".join(
            f"{name} has version {one}" if isinstance(one, int) else one
            for name, one in programs.items()
        ),
        needed=f"pg_dump and pg_restore of version {new}, as the new server",
        remedy=f"pass the directory of the programs of version {new} as bindir=",
        otherwise=Severity.WARNING if can_copy else Severity.CRITICAL,
    )


def timeouts_finding(name: str, side: Side) -> Finding:
    """Return the finding about time limits of the role's sessions."""
    # A limit is a timedelta; 0 means that there is none.
    limits = [setting for setting in TIMEOUTS if value_of(side.settings, setting)]
    # A setting of the role in this database is stronger than any other in the catalogs.
    alter = f"ALTER ROLE CURRENT_USER IN DATABASE {quoted(side.facts.database)} SET"
    remedies = [
        f"remove {limit} from the connection string"
        if side.settings[limit].source == "client"
        else f"{alter} {limit} = 0"
        for limit in limits
    ]
    return checked(
        f"{name}: timeouts",
        ok=not limits,
        observed=names_of(limits),
        needed="none in a new connection: they end copies, and the slots wait for transactions",
        remedy="; ".join(remedies),
        otherwise=Severity.WARNING,
    )


def leftovers_finding(name: str, side: Side) -> Finding:
    """Return the finding about objects that the upgrade would take for its own."""
    return named(
        f"{name}: leftovers",
        side.leftovers,
        needed="no slots, publications, subscriptions, schemas and triggers with the upgrade's"
        " names",
        remedy="undo() or finish the earlier upgrade, remove {}, or choose another name",
    )


def wal_level_finding(name: str, side: Side) -> Finding:
    """Return the finding about wal_level."""
    found = setting_found(
        side.settings,
        "wal_level",
        value_of(side.settings, "wal_level") == "logical",
        needed="logical" if name == "old" else "logical, for the way back",
        value="logical",
    )
    return attrs.evolve(found, check=f"{name}: wal_level")


def _limits(facts: UpgradeFacts) -> Iterator[Finding]:
    count = facts.groups
    # With all copies that the settings allow each subscription.
    full, slow = count * (1 + facts.new.pool.most_copies), []
    for name, side in (("old", facts.old), ("new", facts.new)):
        for setting, (used, needed) in _wanted(facts, name, side).items():
            places = free_places(side.settings, setting, used=used, wanted=needed)
            yield attrs.evolve(places, check=f"{name}: {setting}")
            limit = number(side.settings, setting)
            is_short = places.severity is Severity.OK and limit is not None and limit - used < full
            if is_short and setting in _OF_COPIES[name]:
                slow.append(f"ALTER SYSTEM SET {setting} = {used + full} on the {name} server")
    yield checked(
        "copies at once",
        ok=not slow,
        observed=counted(len(slow), "setting is lower", "settings are lower") if slow else "enough",
        needed=f"{full} workers, slots and walsenders: copies that find none wait for seconds for"
        " each table, so that fewer groups may be faster",
        remedy="; ".join(slow),
        effective_after=EffectiveAfter.RESTART,
        otherwise=Severity.WARNING,
    )
    yield from kept_wal_finding(facts.old)


def _wanted(facts: UpgradeFacts, name: str, side: Side) -> dict[str, tuple[int, int]]:
    """Return the limits of a server: how much of each is in use, and how much more is needed."""
    count = facts.groups
    # Each subscription may copy tables with a slot and a walsender of their own.
    copies = facts.new.pool.most_copies if name == "old" else 0
    copying = 1 if name == "new" else 0  # At least one worker that copies.
    wanted = {
        "max_replication_slots": (side.slots, count + copies),
        "max_wal_senders": (side.senders, count + copies),
        "max_logical_replication_workers": (side.pool.running, count + copying),
        "max_worker_processes": (side.pool.processes, count + copying),
    }
    if name == "new":
        # Before 18, max_replication_slots limits origins too, on its own count.
        origins = (side.pool.origins, count + side.pool.most_copies)
        if has("subscription.origin_limit", side.major):
            wanted["max_active_replication_origins"] = origins
        else:
            wanted["max_replication_slots"] = max(wanted["max_replication_slots"], origins, key=sum)
    return wanted


def kept_wal_finding(old: Side) -> Iterator[Finding]:
    """Return the finding about the limit of the WAL that slots retain; none where it has none."""
    setting = "max_slot_wal_keep_size"
    # Before 13 there is no limit.
    if setting not in old.settings:
        return
    kept = value_of(old.settings, setting)
    yield checked(
        f"old: {setting}",
        # The value of "no limit" is None, or -1 in bytes.
        ok=not (isinstance(kept, int) and kept >= 0),
        observed="no limit" if not (isinstance(kept, int) and kept >= 0) else f"{kept} bytes",
        needed="no limit, or more than the WAL that is written during the copy",
        remedy=f"ALTER SYSTEM SET {setting} = -1; SELECT pg_reload_conf()",
        otherwise=Severity.WARNING,
    )
