"""A new server that is an upgraded physical copy of the old one: its checks and its steps."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal, TypeAlias, get_args

import attrs

from pgreplkit._text import counted, quote_identifier
from pgreplkit.catalog.cluster.upgrade import UserTable
from pgreplkit.catalog.cluster.upgradeclone import ClusterFacts
from pgreplkit.catalog.features import has
from pgreplkit.catalog.logical.replicaidentity import ReplicaIdentity
from pgreplkit.catalog.server.access import HbaRule
from pgreplkit.plans.cluster import upgradesteps as do
from pgreplkit.plans.cluster.journal import CLONING, Journal
from pgreplkit.plans.cluster.standbyconfig import quoted
from pgreplkit.plans.cluster.steps import DropSlots
from pgreplkit.plans.cluster.upgrade import NEW, OLD, Names
from pgreplkit.plans.cluster.upgradechecks import (
    kept_wal_finding,
    lack_rights,
    leftovers_finding,
    pooler_finding,
    reach_finding,
    release_finding,
    rights_finding,
    timeouts_finding,
    wal_level_finding,
)
from pgreplkit.plans.cluster.upgradedatabases import functions_finding, transaction_findings
from pgreplkit.plans.cluster.upgradefacts import Side
from pgreplkit.plans.cluster.upgradefindings import named
from pgreplkit.plans.cluster.upgradegroups import TableGroup
from pgreplkit.plans.cluster.upgradetables import replicated_findings, xml_finding
from pgreplkit.plans.server.readiness import Settings, checked, free_places, value_of
from pgreplkit.values.finding import Finding, Severity

UpgradeTransfer: TypeAlias = Literal["link", "copy", "clone"]
_TRANSFERS = get_args(UpgradeTransfer)
_LONGEST_SOCKET = 107
"""Bytes for the path of a Unix-domain socket on Linux."""
_WALSENDERS_OF_COPY = 2
"""pg_basebackup uses one for the files, and one for WAL."""


def checked_transfer(transfer: str) -> str:
    """Return the mode in which pg_upgrade transfers files.

    Raises:
        ValueError: If it is not one of link, copy and clone.
    """
    if transfer not in _TRANSFERS:
        raise ValueError(f"transfer must be one of {', '.join(_TRANSFERS)}, got {transfer!r}")
    return transfer


@attrs.frozen(kw_only=True)
class CloneFacts:
    """The facts before a preparation by clone."""

    old: Side
    cluster: ClusterFacts
    tables: Sequence[UserTable]
    identities: Sequence[ReplicaIdentity]
    groups: int
    connection_error: str
    """The error with which this machine connects to the old server; empty if it does."""
    database: str
    """The database to which the connection string of the new server leads."""
    ports: Sequence[str]
    """The ports to which it leads."""
    port: str
    """The port of the new server's settings."""
    answering: str
    """The server or program that answers at the address of the new server; empty without one."""
    majors: Mapping[str, int]
    """The major versions of the programs, by ``bindir`` and ``old_bindir``."""
    contents: Mapping[str, Sequence[str]]
    """The directories that must be missing or empty, with their files."""
    creator: str
    """The role that connects to the new server."""
    may_subscribe: bool | None
    """Whether it may create subscriptions there; None if the old server has no such role."""
    new_reads_xml: bool = True
    """Whether the new server's program was built with libxml."""
    missing_libraries: Sequence[str] | None = ()
    """Libraries of functions that the new version lacks; None if its directory is unknown."""
    root_folder: str = ""
    """The parent of the directories if the programs would run as root; otherwise empty."""
    refused_paths: Sequence[str] = ()
    """Why no server would start in the directories."""
    servers: Sequence[int] = ()
    """The processes of servers that run in the directories."""


def obstacles(unusable_parent: str, missing_programs: Sequence[str]) -> Iterator[Finding]:
    """Return the findings about what all other checks need, if it is missing."""
    if unusable_parent:
        yield checked(
            "parent directory",
            ok=False,
            observed=unusable_parent,
            needed="a parent of directory= that belongs to the account of the new server",
            remedy="create it, owned by this account: postgres in most packages",
        )
    if missing_programs:
        yield named(
            "programs",
            missing_programs,
            needed="the programs of both versions",
            remedy="install the packages with {}, or pass the directories that have them",
        )


def clone_findings(facts: CloneFacts) -> Iterator[Finding]:
    """Return one finding for each precondition of a preparation by clone."""
    old, new_major = facts.old, facts.majors["bindir"]
    yield from _host_findings(facts)
    yield release_finding("old", old)
    yield pooler_finding("old", old)
    yield rights_finding("old", old.rights)
    if lack_rights(old):
        # A check that looked at nothing would say that there is no problem.
        return
    yield reach_finding("new", "old", facts.connection_error)
    yield _creator_finding(facts)
    yield timeouts_finding("old", old)
    yield wal_level_finding("old", old)
    wanted = {
        # One more slot retains the WAL for the copy.
        "max_replication_slots": (old.slots, facts.groups + 1),
        "max_wal_senders": (old.senders, max(facts.groups, _WALSENDERS_OF_COPY)),
    }
    for setting, (used, needed) in wanted.items():
        places = free_places(old.settings, setting, used=used, wanted=needed)
        yield attrs.evolve(places, check=f"old: {setting}")
    yield from kept_wal_finding(old)
    yield from replicated_findings(facts.tables, facts.identities, new_major)
    yield xml_finding(facts.tables, reads_xml=facts.new_reads_xml)
    yield from transaction_findings(old.facts)
    yield functions_finding(old.facts, new_major)
    yield _libraries_finding(facts.missing_libraries)
    yield _access_finding(facts)
    yield from _copied_findings(facts)


def _host_findings(facts: CloneFacts) -> Iterator[Finding]:
    old, new = facts.majors["old_bindir"], facts.majors["bindir"]
    major = facts.old.major
    yield checked(
        "programs",
        ok=old == major and new > major,
        observed=f"old_bindir has {old}, bindir has {new}",
        needed=f"{major} in old_bindir, as the old server, and a newer version in bindir",
        remedy="pass the directories of the programs of both versions",
    )
    yield from _directory_findings(facts)
    name = facts.old.facts.database
    yield checked(
        "database",
        ok=facts.database == name,
        observed=f"new= leads to {facts.database or 'no database'}",
        needed=f"{name}: a copy has the databases of the old server",
        remedy=f"pass new= with the database {name}",
    )
    yield checked(
        "port",
        ok=facts.port in facts.ports,
        observed=f"new= leads to {' and '.join(facts.ports)}, settings= has {facts.port}",
        needed="the port of the new server in both: it would be started, and not be reached",
        remedy=f"pass settings={{'port': {facts.ports[0]!r}, …}}, or new= with port={facts.port}",
    )
    yield checked(
        "address",
        ok=not facts.answering,
        observed=facts.answering or "no server answers",
        needed="no server at the address of the new one: it would be fenced in its place",
        remedy="correct new=, or stop the server that answers there",
    )
    yield leftovers_finding("old", facts.old)
    yield checked(
        "groups",
        ok=facts.groups == 1 or has("slot.advance", major),
        observed=f"{facts.groups} groups",
        needed="one group before 11, where several slots cannot be at one position",
        remedy="prepare with one group",
    )


def _directory_findings(facts: CloneFacts) -> Iterator[Finding]:
    yield checked(
        "account",
        ok=not facts.root_folder,
        observed=f"{facts.root_folder} belongs to root" if facts.root_folder else "not root",
        needed="a parent of directory= that belongs to the account of the new server: PostgreSQL's"
        " programs refuse to run as root",
        remedy=f"run chown postgres {facts.root_folder}",
    )
    for directory, content in facts.contents.items():
        yield checked(
            f"directory {directory}",
            ok=not content,
            observed=f"it contains {content[0]!r}" if content else "missing or empty",
            needed="a directory that is missing or empty",
            remedy="pass another directory, or remove its files",
        )
    yield named(
        "paths",
        facts.refused_paths,
        needed="directories in which the programs start a server",
        remedy="pass another directory",
        separator="; ",
    )
    yield named(
        "servers",
        [f"process {pid}" for pid in facts.servers],
        needed="none in both directories, even if their files were removed",
        remedy="run resume() or undo() of their preparation, or stop {} with SIGINT",
    )
    # The copy, which has the longer path of the two, gets sockets in its own directory.
    socket = max(len(f"{directory}/.s.PGSQL.50432".encode()) for directory in facts.contents)
    yield checked(
        "socket",
        ok=socket <= _LONGEST_SOCKET,
        observed=f"its path in the copy has {socket} bytes",
        needed=f"at most {_LONGEST_SOCKET} bytes",
        remedy="pass a directory with a shorter path",
    )


def _creator_finding(facts: CloneFacts) -> Finding:
    role, remedy = facts.creator, "pass new= with the name of a superuser"
    if has("subscription.creator", facts.old.major):
        name, database = quote_identifier(role), quote_identifier(facts.database)
        remedy += (
            f", or on the old server: GRANT pg_create_subscription TO {name};"
            f" GRANT CREATE ON DATABASE {database} TO {name}"
        )
    found = f"{role} may create them" if facts.may_subscribe else f"{role} may not create them"
    return checked(
        "subscriptions",
        ok=bool(facts.may_subscribe),
        observed=f"there is no role {role}" if facts.may_subscribe is None else found,
        needed="a role that may create subscriptions on the new server, which gets the roles of the"
        " old one",
        remedy=remedy,
    )


def _libraries_finding(missing: Sequence[str] | None) -> Finding:
    """Return the finding about extensions: pg_upgrade fails without them, after the copy."""
    needed = "the libraries of all functions in C, in the new version"
    if missing is None:
        return Finding(
            check="libraries",
            severity=Severity.INFO,
            found="unknown: bindir has no pg_config",
            needed=needed,
            remedy="install the packages of all extensions for the new version",
        )
    return named(
        "libraries",
        missing,
        needed=needed,
        remedy="install the packages with {} for the new version, or drop the extensions",
    )


def _access_finding(facts: CloneFacts) -> Finding:
    can_read = facts.cluster.hba is not None
    return checked(
        "pg_hba.conf",
        ok=can_read,
        observed="readable" if can_read else "this role cannot read the old server's",
        needed="that of the old server: otherwise the new one lets in only its own machine",
        remedy="connect as a superuser; if this is not enough, as before 11 for a file outside of"
        " the data directory, add the lines for the clients and the old server to pg_hba.conf of"
        " the new server before the cutover",
        otherwise=Severity.WARNING,
    )


def _copied_findings(facts: CloneFacts) -> Iterator[Finding]:
    """Return the findings about objects that the copy has as of one moment, or must not have."""
    old, cluster = facts.old.facts, facts.cluster
    yield checked(
        "large objects",
        ok=not old.large_objects,
        observed=counted(old.large_objects, "large object"),
        needed="none: changes after the copy are not replicated",
        remedy="copy those that change after the fence, or store them in bytea columns",
        otherwise=Severity.WARNING,
    )
    yield named(
        "other databases",
        cluster.other_databases,
        needed="none: changes after the copy are replicated for one database only",
        remedy="move {} by an upgrade of their own, or write to them no longer",
        otherwise=Severity.WARNING,
    )
    # Enabled in the copy, they would take over the slots of the old server's subscriptions.
    yield named(
        "other subscriptions",
        old.subscriptions,
        needed="none: the copy would subscribe, too",
        remedy="drop {}, or prepare by rows",
    )
    yield named(
        "tablespaces",
        cluster.tablespaces,
        needed="none: their directories would be shared with the old server",
        remedy="prepare by rows: {} cannot be copied",
    )
    yield named(
        "rows of extensions",
        old.filled_extensions,
        needed="none: changes after the copy are not replicated",
        remedy="stop changes of {}, or copy the rows again after the fence",
        otherwise=Severity.WARNING,
    )
    unlogged = [str(one.table) for one in facts.tables if one.persistence == "u"]
    yield named(
        "unlogged tables",
        unlogged,
        needed="none: they are empty in the copy",
        remedy="; ".join(f"ALTER TABLE {name} SET LOGGED" for name in unlogged),
        otherwise=Severity.WARNING,
    )


def clone_journal(
    names: Names, groups: Sequence[TableGroup], *, directory: str, copy: str, transfer: str
) -> Journal:
    """Return the steps that make an upgraded copy, which follows the old server."""
    forward = [names.forward(number) for number in range(1, len(groups) + 1)]
    tables = tuple(str(table) for group in groups for table in group.tables)
    hint = f"The upgrade {names.upgrade} fills this server; connect to the old one."
    steps = (
        # They show that a journal is stale: nothing exists of a preparation without them.
        *(
            do.PublishTables(OLD, name, [str(table) for table in group.tables])
            for name, group in zip(forward, groups, strict=True)
        ),
        # The slots come after the copy: until it is complete, they cannot be its target.
        do.CopyServer(OLD, copy, names.copy),
        do.KeepSchema(OLD, forward[0]),
        do.MakeForwardSlots(OLD, forward),
        do.RecoverCopy(OLD, copy, forward),
        DropSlots(OLD, [names.copy]),
        do.UpgradeCopy(NEW, directory, copy, transfer),
        do.StartUpgraded(NEW, directory),
        do.DropCopiedPublications(NEW, forward),
        do.FenceTables(NEW, names.fence, tables, hint),
        *(do.SubscribeAt(NEW, name) for name in forward),
        do.RemoveCopy(NEW, copy),
        do.AnalyzeUpgraded(NEW),
        do.KeepSchema(NEW, forward[0]),
    )
    return Journal(operation=f"{CLONING} {names.upgrade}", steps=steps)


HBA_FILE = "pgreplkit_hba.conf"
TRUSTED = b"local all all trust\n"
"""Only the server's account can enter the directory of the socket."""
OWN_HBA = b"local all all peer\nhost all all samehost md5\n"
"""pg_hba.conf of the new server, if that of the old one cannot be read.

It lets in this machine, from which the plan connects; md5 includes SCRAM.
"""
WITHOUT_LIBXML = b"This functionality requires the server to be built with libxml support."
"""A message of the server's program that exists only if it was built without libxml."""
_INCLUDE = re.compile(r"^\s*include|^[^#]*(?<![^\s,])@", re.MULTILINE)


def has_includes(text: str) -> bool:
    """Return whether pg_hba.conf or pg_ident.conf names other files: with include, or after @."""
    return _INCLUDE.search(text) is not None


def written_rules(rules: Iterable[HbaRule]) -> str:
    """Return the rules of pg_hba.conf as one file, without those in error."""
    return _lines(
        [
            rule.type,
            ",".join(map(_token, rule.database)),
            ",".join(map(_token, rule.user_name)),
            rule.address,
            rule.netmask,
            rule.auth_method,
            *map(_token, rule.options),
        ]
        for rule in rules
        if rule.type
    )


def written_mappings(mappings: Iterable[Iterable[str]]) -> str:
    """Return the lines of pg_ident.conf: a map, a name of the system, and one of PostgreSQL."""
    return _lines(map(_token, names) for names in mappings)


def _lines(lines: Iterable[Iterable[str | None]]) -> str:
    return "".join(" ".join(word for word in line if word) + "\n" for line in lines)


def _token(word: str) -> str:
    """Quote a word with characters that would end it; a quoted keyword would be a name."""
    return f'"{word}"' if re.search(r"[\s,#]", word) else word


_AS_ON_OLD = ("max_connections", "max_prepared_transactions", "max_locks_per_transaction")
"""Settings that limit what the copy replays: prepared transactions, and their locks.

Other settings of the old server are limits for a standby that accepts queries only.
"""


def recovery_configuration(directory: str, settings: Settings) -> str:
    """Return postgresql.conf of the copy, for its recovery and for pg_upgrade.

    ``settings`` are those of the old server.

    With the old server's own, it would archive WAL, run the jobs of extensions, or use its port.
    """
    same = "".join(f"{name} = {value_of(settings, name)}\n" for name in _AS_ON_OLD)
    return f"""# Written by pgreplkit for an upgrade.
listen_addresses = ''
unix_socket_directories = {quoted(directory)}
unix_socket_permissions = 0700
hba_file = {quoted(f"{directory}/{HBA_FILE}")}
hot_standby = off
autovacuum = off
max_logical_replication_workers = 0
{same}"""


def initdb_arguments(cluster: ClusterFacts, directory: str, *, major: int) -> list[str]:
    """Return the arguments of initdb, with which pg_upgrade accepts the new cluster."""
    checksums = ["--data-checksums"] if cluster.has_checksums else []
    # From 18 on, checksums are the default.
    if not cluster.has_checksums and has("initdb.no_checksums", major):
        checksums = ["--no-data-checksums"]
    return [
        f"--pgdata={directory}",
        f"--username={cluster.superuser}",
        f"--encoding={cluster.encoding}",
        f"--lc-collate={cluster.collate}",
        f"--lc-ctype={cluster.ctype}",
        f"--wal-segsize={cluster.segment_megabytes}",
        # For pg_upgrade; pg_hba.conf is replaced before others can connect.
        "--auth=trust",
        # pg_upgrade flushes all files to disk at its end.
        "--no-sync",
        *checksums,
    ]


_JOBS = 4
"""Databases that pg_upgrade dumps and restores at the same time: those of initdb, and one more."""


def upgrade_arguments(
    cluster: ClusterFacts, *, major: int, old_bindir: str, copy: str, directory: str, transfer: str
) -> list[str]:
    """Return the arguments of pg_upgrade of that major version."""
    # By default they are in the parent directory, which may have those of another upgrade.
    sockets = [f"--socketdir={copy}"] if has("upgrade.socketdir", major) else []
    return [
        f"--old-bindir={old_bindir}",
        f"--old-datadir={copy}",
        f"--new-datadir={directory}",
        f"--username={cluster.superuser}",
        f"--jobs={_JOBS}",
        *sockets,
        # The default has no option of its own before 17.
        *([] if transfer == "copy" else [f"--{transfer}"]),
    ]
