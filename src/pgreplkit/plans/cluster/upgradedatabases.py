"""The preconditions of a major upgrade: all that logical replication does not copy."""

import re
from collections.abc import Iterator

from pgreplkit._text import counted, quote_identifier
from pgreplkit.catalog.cluster.upgrade import DatabaseFacts
from pgreplkit.plans.cluster.upgradefacts import UpgradeFacts
from pgreplkit.plans.cluster.upgradefindings import event_triggers_finding, named
from pgreplkit.plans.cluster.upgradeprivileges import left_out_finding
from pgreplkit.plans.server.readiness import checked, names_of
from pgreplkit.values.finding import Finding, Severity
from pgreplkit.values.tablename import quoted

_SAFE_PATH = 17
"""The first major version that builds indexes with a safe search_path."""


def database_findings(facts: UpgradeFacts) -> Iterator[Finding]:
    """Return the findings about all else in the database and on its server."""
    old, new = facts.old.facts, facts.new.facts
    yield checked(
        "large objects",
        ok=not old.large_objects,
        observed=counted(old.large_objects, "large object"),
        needed="none: they are not replicated",
        remedy="copy them after the fence, or store them in bytea columns",
    )
    yield from _extensions(old, new)
    yield from _globals(old, new)
    yield _owners_finding(facts)
    yield left_out_finding(facts.left_out_roles, facts.uncopied_privileges)
    yield _schemas_finding(facts)
    yield named(
        "existing objects",
        facts.colliding,
        needed="none of the old server's on the new one, or all of them: the schema is copied as a"
        " whole",
        remedy="drop {} on the new server; or create all others there too, and prepare with"
        " copy_schema=False",
    )
    refused = facts.refused_extensions if facts.copies_schema else ()
    yield named(
        "extensions of superusers",
        refused,
        needed="none that the role of the new server cannot create",
        remedy="; ".join(f"CREATE EXTENSION {quoted(one)}" for one in refused)
        + ", as a superuser of the new server",
    )
    yield from _collations(old, new)
    yield functions_finding(old, facts.new.major)
    yield named(
        "database settings",
        [
            # The statement is for the database of the new server, which may have another name.
            one.replace("{}", quote_identifier(new.database))
            for one in old.database_settings
            if one not in new.database_settings
        ],
        needed="the same settings on both servers",
        remedy="{}",
        otherwise=Severity.WARNING,
        separator="; ",
    )
    # What other programs use, and each may do without for the time of the upgrade.
    for what, found, remedy in (
        ("event triggers", old.event_triggers, "check that {} permit the triggers of a fence"),
        ("other publications", old.publications, "create {} on the new server for their readers"),
        ("other subscriptions", old.subscriptions, "create {} on the new server at the cutover"),
    ):
        yield named(what, found, needed="none", remedy=remedy, otherwise=Severity.WARNING)
    yield event_triggers_finding(facts.writing_triggers)
    yield from transaction_findings(old)


def transaction_findings(old: DatabaseFacts) -> Iterator[Finding]:
    """Return the findings about transactions for which the creation of slots waits."""
    yield named(
        "old transactions",
        old.old_transactions,
        needed="none",
        remedy="end {}: slots wait for them",
        otherwise=Severity.WARNING,
    )
    yield named(
        "prepared transactions",
        old.prepared,
        needed="none: slots wait for them",
        remedy="COMMIT PREPARED or ROLLBACK PREPARED {}",
    )


def functions_finding(old: DatabaseFacts, new_major: int) -> Finding:
    """Return the finding about functions that are evaluated when the schema is restored."""
    return named(
        "functions without a search_path",
        old.unsafe_functions,
        needed="functions with a search_path of their own",
        remedy="; ".join(
            f"ALTER FUNCTION {one} SET search_path FROM CURRENT" for one in old.unsafe_functions
        ),
        # Such an index cannot be restored there, and so not copied.
        otherwise=Severity.CRITICAL if new_major >= _SAFE_PATH else Severity.WARNING,
    )


def _extensions(old: DatabaseFacts, new: DatabaseFacts) -> Iterator[Finding]:
    # Installed, or ready for CREATE EXTENSION, which the copy of the schema runs.
    missing = [name for name in old.extensions if name not in {*new.available, *new.extensions}]
    if new.extensions_error:
        yield checked(
            "extensions",
            ok=False,
            observed=f"the new server cannot list its extensions: {new.extensions_error}",
            needed="control files that it can read",
            remedy="install the package of that extension again, or remove the file",
            otherwise=Severity.CRITICAL if missing else Severity.WARNING,
        )
    else:
        yield named(
            "missing extensions",
            missing,
            needed="the packages of all extensions on the new server",
            remedy="install the packages of {} on the new server",
        )
    yield named(
        "older extensions",
        [
            f"{name} {there} < {version}"
            for name, version in old.extensions.items()
            if _is_older(there := new.extensions.get(name) or new.available.get(name), version)
        ],
        needed="the same or newer versions of all extensions",
        remedy="install newer packages on the new server: {}",
        otherwise=Severity.WARNING,
    )
    yield named(
        "rows of extensions",
        old.filled_extensions,
        needed="none: CREATE EXTENSION fills its tables, and they are not replicated",
        remedy="pg_dump --data-only --table={}, into the new server",
        otherwise=Severity.WARNING,
    )


def _globals(old: DatabaseFacts, new: DatabaseFacts) -> Iterator[Finding]:
    """Check the objects that all databases of a server share: roles and tablespaces."""
    yield named(
        "missing owners",
        sorted(old.owners - new.roles),
        needed="the owners of all objects on the new server, and the roles of their privileges and"
        " policies: without them the schema cannot be copied",
        remedy="pg_dumpall --roles-only from the old server: {} are missing",
    )
    # The others are not named in the schema.
    yield named(
        "missing roles",
        sorted(old.roles - new.roles - old.owners),
        needed="the same roles on both servers",
        remedy="pg_dumpall --roles-only from the old server: {} are missing",
        otherwise=Severity.WARNING,
    )
    yield checked(
        "memberships",
        ok={*old.memberships} <= {*new.memberships},
        observed=f"{len({*old.memberships} - {*new.memberships})} memberships are missing",
        needed="the same memberships of roles",
        remedy="; ".join(one for one in old.memberships if one not in new.memberships),
        otherwise=Severity.WARNING,
    )
    yield named(
        "md5 passwords",
        old.md5_roles,
        needed="SCRAM: md5 passwords are deprecated from 18 on",
        remedy="set the passwords of {} again, with password_encryption = scram-sha-256",
        otherwise=Severity.INFO,
    )
    yield named(
        "missing tablespaces",
        sorted(old.used_tablespaces - new.tablespaces),
        needed="the same tablespaces on both servers",
        remedy="CREATE TABLESPACE {} LOCATION … on the new server",
    )


def _schemas_finding(facts: UpgradeFacts) -> Finding:
    role, closed = facts.new.rights.role, facts.closed_schemas
    grants = [f"GRANT CREATE ON SCHEMA {quoted(one)} TO {quoted(role)}" for one in closed]
    return checked(
        "schemas",
        ok=not closed,
        observed=f"{role} may not create in {names_of(closed)}"
        if closed
        else f"{role} may create in those that exist, or need not",
        needed="CREATE on those that exist, to copy the objects that the old server has in them",
        remedy=f"on the new server: {'; '.join(grants)}",
    )


def _owners_finding(facts: UpgradeFacts) -> Finding:
    refused = facts.refused_owners if facts.copies_owners else {}
    grants = [statement for statement in refused.values() if statement is not None]
    superuser = (
        "connect to the new server as a superuser; or give the objects to other owners on the old"
        " one, before 15 also by ALTER SCHEMA public OWNER TO …; or prepare with owners=False, and"
        " set owners and privileges before the cutover"
    )
    return checked(
        "owners",
        ok=not refused,
        observed=f"{facts.new.rights.role} is no member of {names_of([*refused])}"
        if refused
        else "the copy of the schema can set them, or need not",
        needed="a role of the new server that can give the objects to their owners",
        remedy="; ".join(grants if len(grants) == len(refused) else [superuser]),
    )


def _collations(old: DatabaseFacts, new: DatabaseFacts) -> Iterator[Finding]:
    # Another order or encoding is possible, and may be the purpose of the upgrade.
    for what in ("encoding", "collation"):
        here, there = getattr(old, what), getattr(new, what)
        yield checked(
            what,
            ok=here == there,
            observed=f"{here} and {there}",
            needed="the same on both servers",
            remedy=f"CREATE DATABASE with the {what} {here}",
            otherwise=Severity.WARNING,
        )
    # Before 15 the server does not know the version of a database's collation.
    versions = {old.collation_version, new.collation_version} - {None}
    yield checked(
        "collation version",
        ok=len(versions) < 2,
        observed=" and ".join(map(str, sorted(versions, key=str))) or "unknown",
        needed="the same order on both servers",
        remedy="compare range partitions and CHECK constraints on texts; indexes are built again",
        otherwise=Severity.WARNING,
    )


def _is_older(there: str | None, version: str) -> bool:
    """Return whether an extension has an older version there; versions may be any text."""
    parts = [[*map(int, re.findall(r"\d+", one))] for one in (there or version, version)]
    return parts[0] < parts[1]
