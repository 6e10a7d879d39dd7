"""AsyncUpgradeClone: a new server for an upgrade, made from a physical copy of the old one."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

from pgreplkit._async._io import to_thread
from pgreplkit._async.cluster.plan import AsyncPlan
from pgreplkit._async.cluster.upgradecloneactions import AsyncCloneActor
from pgreplkit._async.cluster.upgradefacts import databases_of, read_side
from pgreplkit._async.cluster.upgradegroups import read_tables
from pgreplkit._async.cluster.upgradelock import AsyncUpgradeLock
from pgreplkit._async.logical.drift import other_relations
from pgreplkit._async.primary import AsyncPrimary, insist_on_primaries
from pgreplkit.catalog.cluster.upgrade import CREATOR
from pgreplkit.driver.conninfo import (
    NEWEST,
    checked_conninfo,
    resolved,
    server_conninfo,
)
from pgreplkit.host.journalfile import read_journal
from pgreplkit.host.upgradeclone import DEFAULT_PORT, CloneDirectories
from pgreplkit.plans.cluster import upgradesteps as steps
from pgreplkit.plans.cluster.journal import CLONING
from pgreplkit.plans.cluster.upgrade import OLD, Names, checked_upgrade_name
from pgreplkit.plans.cluster.upgradeclone import (
    CloneFacts,
    UpgradeTransfer,
    checked_transfer,
    clone_findings,
    clone_journal,
    obstacles,
)
from pgreplkit.plans.cluster.upgradegroups import (
    TableGroup,
    checked_count,
    chosen_groups,
    groups_of,
    tables_of,
)
from pgreplkit.plans.server.readiness import Readiness
from pgreplkit.values.finding import Finding
from pgreplkit.values.rows import Rows
from pgreplkit.values.seconds import Timeout, checked_seconds
from pgreplkit.values.several import by_name, texts_by_name


class AsyncUpgradeClone:
    """A new server for an upgrade: a physical copy of the old one, upgraded by pg_upgrade.

    For large databases this is faster than copying rows. ``plan_prepare`` copies the old server
    with pg_basebackup, recovers the copy up to the position of new slots, upgrades it, starts it,
    and subscribes from this position on. Then an ``Upgrade`` of the same ``name`` continues, with a
    connection to each server: ``compare``, ``plan_cutover`` and the rest.

    It runs on the machine of the new server, which has the programs of both major versions:
    ``old_bindir`` and ``bindir``. The data directory will be ``directory``, and the copy is made
    beside it, with the suffix ``.copy``; when used by root, both belong to the account that owns
    their parent directory. With ``transfer="link"``, the new server gets links to the files of the
    copy; "copy" and "clone" are the other modes of pg_upgrade.

    ``new`` is the connection string of the new server, to the same database; ``settings`` are its
    settings, such as its port. ``replication`` has the connection string with which the new server
    reaches the old one, as "old"; by default it is that of ``old``.
    """

    def __init__(
        self,
        old: AsyncPrimary,
        new: str,
        *,
        name: str,
        directory: str | os.PathLike[str],
        bindir: str | os.PathLike[str],
        old_bindir: str | os.PathLike[str],
        settings: Mapping[str, str] | None = None,
        transfer: UpgradeTransfer = "link",
        journal: str | os.PathLike[str] | None = None,
        replication: Mapping[str, str] | None = None,
        timeout: Timeout = 60.0,
    ) -> None:
        insist_on_primaries(old=old)
        # Later, psycopg's own error would repeat a part of it, perhaps of its password.
        checked_conninfo(new, "new")
        self._names = Names(upgrade=checked_upgrade_name(name))
        self._transfer = checked_transfer(transfer)
        self._file = None if journal is None else Path(journal).absolute()
        given = dict(by_name(replication, "replication"))
        if unknown := given.keys() - {OLD}:
            raise ValueError(f"replication has the server old, not {sorted(unknown)}")
        for conninfo in given.values():
            checked_conninfo(conninfo, f"replication[{OLD!r}]")
        self._old = old
        self._host = CloneDirectories.at(
            directory,
            bindir=bindir,
            old_bindir=old_bindir,
            settings=texts_by_name(settings, "settings"),
        )
        self._actor = AsyncCloneActor(
            old=old,
            new=new,
            # The new server's version is not known yet: the client's library knows the parameters.
            reached=given.get(OLD)
            or server_conninfo(old.connection, old._link.conninfo, major=NEWEST),
            host=self._host,
            timeout=checked_seconds(timeout, "timeout"),
        )

    @property
    def name(self) -> str:
        """The upgrade's name."""
        return self._names.upgrade

    async def groups(self, count: int = 1) -> Rows[TableGroup]:
        """Distribute the tables to at most ``count`` groups, as ``Upgrade.groups``.

        Each group gets a subscription, which applies in parallel with the others.

        Raises: ValueError if ``count`` is not positive.  Source: pg_class, pg_constraint.
        """
        return Rows(groups_of(await read_tables(self._old._link), count))

    async def check(self, *, groups: int = 1) -> Readiness:
        """Check everything that the preparation needs; nothing is changed.

        pg_upgrade checks more, as a part of the plan.

        If the role lacks rights, a program is missing or the parent directory unusable, only this
        is reported.

        Raises: ControlFailed if a program cannot be run.
        """
        count = checked_count(groups, "groups")
        parent = await to_thread(self._host.unusable_parent)
        programs = await to_thread(self._host.missing_programs)
        if parent or programs:
            return Readiness(findings=tuple(obstacles(parent, programs)))
        facts = await self._facts(count)
        return Readiness(findings=tuple(clone_findings(facts)))

    async def plan_prepare(self, groups: Sequence[TableGroup] | None = None) -> AsyncPlan:
        """Plan the preparation: copy the old server, upgrade the copy, and follow.

        ``groups`` are those of ``groups()``; by default there is one. ``undo()`` of the plan
        removes the new server and its slots.

        Raises: ValueError for groups that leave out a table, or have it twice.
        """
        tables = await read_tables(self._old._link)
        others = await other_relations(self._old._link, tables_of(groups))
        chosen = chosen_groups(groups, tables, others)
        journal = clone_journal(
            self._names,
            chosen,
            directory=self._host.new.data_directory,
            copy=self._host.copy.data_directory,
            transfer=self._transfer,
        )
        kept = attrs.evolve(journal, databases=await databases_of(self._old))
        checks = _CloneChecks(self, len(chosen))
        return AsyncPlan(self._actor, kept, checks, self._file, self._lock(), self._actor.look)

    async def plan_resume(self) -> AsyncPlan:
        """Return the plan of the journal file; its ``resume()`` continues it.

        Raises: ValueError if there is no journal, or it belongs to another upgrade; HostFileError.
        """
        if self._file is None:
            raise ValueError("could not resume: the clone has no journal; pass journal= to it")
        journal = read_journal(self._file)
        journal.check_performer("upgrade")
        here = self._host.new.data_directory
        places = {step.directory for step in journal.steps if isinstance(step, steps.UpgradeCopy)}
        if journal.operation != f"{CLONING} {self.name}" or places != {here}:
            found = f"{journal.operation} into {', '.join(sorted(places)) or 'no directory'}"
            raise ValueError(
                f"could not resume {self.name!r} into {here}: {self._file} has the {found};"
                " pass the journal of this clone"
            )
        journal.check_databases(await databases_of(self._old))
        return AsyncPlan(self._actor, journal, None, self._file, self._lock(), self._actor.look)

    def _lock(self) -> AsyncUpgradeLock:
        # The new server does not exist yet.
        return AsyncUpgradeLock(self._names, {OLD: self._old})

    async def _facts(self, groups: int) -> CloneFacts:
        old = self._old
        tables = await read_tables(old._link)
        is_xml = any(one.is_copied and one.xml_columns for one in tables)
        place = resolved(self._actor.new)
        cluster = await self._actor.cluster()
        creator = await old._link.all("read the rights of the role", CREATOR, [place.get("user")])
        return CloneFacts(
            old=await read_side(old, self._names),
            cluster=cluster,
            tables=tables,
            identities=await old.replica_identity(),
            groups=groups,
            creator=place.get("user", ""),
            may_subscribe=creator[0]["may"] if creator else None,
            connection_error=await self._actor.unreached(),
            database=place.get("dbname", ""),
            # One for each host; libpq takes the default for one that is left out.
            ports=[
                port or DEFAULT_PORT
                for port in resolved(self._actor.new).get("port", "").split(",")
            ],
            port=self._host.port,
            answering=await self._actor.answering(),
            majors=await to_thread(self._host.majors),
            contents=await to_thread(self._host.contents),
            root_folder=await to_thread(self._host.root_folder),
            refused_paths=await to_thread(self._host.refused_paths),
            servers=await to_thread(self._host.servers),
            missing_libraries=await to_thread(
                lambda: self._host.missing_libraries(cluster.libraries)
            ),
            new_reads_xml=not is_xml or await to_thread(self._host.reads_xml),
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"


@attrs.frozen
class _CloneChecks:
    """The checks of a preparation by clone."""

    upgrade: AsyncUpgradeClone
    groups: int

    async def findings(self) -> list[Finding]:
        return [*(await self.upgrade.check(groups=self.groups))]
