"""The copy of an old server and the new server made from it: their files and programs."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import attrs

from pgreplkit.catalog.cluster.upgradeclone import ClusterFacts
from pgreplkit.errors import ControlFailed
from pgreplkit.host.configuration import AUTO_FILE
from pgreplkit.host.localcontrol import LocalControl
from pgreplkit.host.nodecontrol import NodeControl
from pgreplkit.host.programs import program_major, running_with, servers_in
from pgreplkit.host.recoveryfiles import (
    control_file,
    is_standby,
    write_settings,
    written_conninfo,
    written_slot,
)
from pgreplkit.plans.cluster.standbyconfig import standby_config
from pgreplkit.plans.cluster.upgradeclone import (
    HBA_FILE,
    OWN_HBA,
    TRUSTED,
    WITHOUT_LIBXML,
    initdb_arguments,
    recovery_configuration,
    upgrade_arguments,
)
from pgreplkit.plans.server.readiness import Settings
from pgreplkit.values.controlfile import ControlState
from pgreplkit.values.lsn import LSN
from pgreplkit.values.timeline import TimelineHistory

DEFAULT_PORT = "5432"
_CONTROL = "global/pg_control"
_SCRIPT = "../delete_old_cluster.sh"
_PROGRAMS = {
    "bindir": (
        *("initdb", "pg_controldata", "pg_ctl", "pg_dump", "pg_dumpall", "pg_resetwal"),
        *("pg_restore", "pg_upgrade", "postgres", "psql", "vacuumdb"),
    ),
    "old_bindir": ("pg_basebackup", "pg_controldata", "pg_ctl", "pg_resetwal", "postgres"),
}
"""The programs that the steps and pg_upgrade run."""
_LIBRARIES = ("", ".so", ".dylib")
"""The suffixes of a library, which a function may leave out."""


@attrs.define
class CloneDirectories:
    """The data directories of the copy and of the new server, on this machine.

    The methods block until they are done.
    """

    new: LocalControl
    copy: LocalControl
    bindir: str
    old_bindir: str
    settings: Mapping[str, str]
    _is_unused: bool = attrs.field(default=False, init=False)
    """Whether this object has created the new data directory, and no server has used it yet."""

    @classmethod
    def at(
        cls,
        directory: str | os.PathLike[str],
        *,
        bindir: str | os.PathLike[str],
        old_bindir: str | os.PathLike[str],
        settings: Mapping[str, str] | None,
    ) -> CloneDirectories:
        """Return those of a directory; the copy is beside it.

        Raises: ControlFailed if there is no pg_ctl.
        """
        target = Path(directory).absolute()
        copy = LocalControl(target.with_name(f"{target.name}.copy"), bindir=old_bindir)
        new = LocalControl(target, bindir=bindir)
        return cls(new, copy, os.fspath(bindir), os.fspath(old_bindir), dict(settings or {}))

    @property
    def port(self) -> str:
        """The port of the new server; the names of settings have no case."""
        ports = [value for name, value in self.settings.items() if name.lower() == "port"]
        return ports[-1].strip() if ports else DEFAULT_PORT

    def unusable_parent(self) -> str:
        """Return why the parent of both directories is unusable, else nothing."""
        parent = Path(self.new.data_directory).parent
        if not parent.is_dir():
            return f"{parent} is no directory" if parent.exists() else f"{parent} is missing"
        unwritable = self.new.unwritable(str(parent), recursive=False)
        return f"the server's account cannot write to {parent}" if unwritable else ""

    def refused_paths(self) -> list[str]:
        """Return why no server would start in the directories."""
        found = []
        for one in (self.copy, self.new):
            try:
                one.insist_on_startable("use the directory", program_major(one, "postgres"))
            except ControlFailed as error:
                found.append(error.found)
        return found

    def missing_programs(self) -> list[str]:
        """Return the programs that are missing."""
        folders = {"bindir": self.bindir, "old_bindir": self.old_bindir}
        return [
            f"{program} in {name}"
            for name, programs in _PROGRAMS.items()
            for program in programs
            if not os.access(Path(folders[name], program), os.X_OK)
        ]

    def majors(self) -> dict[str, int]:
        """Return the major versions of the programs of both directories."""
        return {
            "bindir": program_major(self.new, "pg_upgrade"),
            "old_bindir": program_major(self.copy, "postgres"),
        }

    def missing_libraries(self, names: Sequence[str]) -> list[str] | None:
        """Return the libraries of functions in C that the new version lacks.

        None if its directory is unknown, because ``bindir`` has no pg_config.
        """
        lines: list[str] = []
        try:
            self.new.run("pg_config", ["--pkglibdir"], on_line=lines.append)
        except ControlFailed:
            return None
        # A name without a directory is found in the same one by default.
        found = {name: Path(lines[-1], name.removeprefix("$libdir/")) for name in names}
        return [
            name
            for name, path in found.items()
            if not any(Path(f"{path}{suffix}").exists() for suffix in _LIBRARIES)
        ]

    def reads_xml(self) -> bool:
        """Return whether the new server's program was built with libxml.

        Raises: ControlFailed if it cannot be read.
        """
        try:
            with (
                Path(self.bindir, "postgres").open("rb") as program,
                mmap.mmap(program.fileno(), 0, access=mmap.ACCESS_READ) as content,
            ):
                return content.find(WITHOUT_LIBXML) < 0
        except OSError as error:
            operation = "find out whether the new server reads XML"
            raise ControlFailed(operation, f"{error}", remedy="make it readable") from error

    def root_folder(self) -> str:
        """Return the parent of both directories if the programs would run as root, else nothing.

        They run under the account of its owner, and refuse to run as root.
        """
        parent = Path(self.new.data_directory).parent
        return str(parent) if os.geteuid() == 0 and parent.stat().st_uid == 0 else ""

    def contents(self) -> dict[str, list[str]]:
        """Return the files in both directories."""
        return {
            one.data_directory: one.list_folder(one.data_directory) or []
            for one in (self.new, self.copy)
        }

    def servers(self) -> list[int]:
        """Return the servers that run in both directories, also if their files were removed."""
        return servers_in(self.copy.data_directory, self.new.data_directory)

    def stop_servers(self) -> list[int]:
        """Stop both servers; return the processes that an attempt left and that still run."""
        programs = (
            f"--pgdata={self.copy.data_directory}",
            f"--pgdata={self.new.data_directory}",
            f"--new-datadir={self.new.data_directory}",
        )
        for one in (self.new, self.copy):
            try:
                stop(one)
            except ControlFailed:
                # pg_ctl does not stop the server of initdb, which ends with it.
                if not running_with(*programs):
                    raise
        return running_with(*programs)

    def begin_recovery(self, target: LSN, *, major: int, settings: Settings) -> None:
        """Start the copy with a configuration of its own, as a standby that promotes itself."""
        copy = self.copy
        config = standby_config(
            written_conninfo(copy) or "",
            server_version=major,
            slot=written_slot(copy),
            recovery_target_lsn=target,
            # A commit that starts exactly there is sent by the slot: it must not come twice.
            recovery_target_inclusive=False,
            recovery_target_action="promote",
        )
        copy.write_file(HBA_FILE, TRUSTED)
        main = recovery_configuration(copy.data_directory, settings)
        copy.write_file("postgresql.conf", main.encode())
        if config.settings_file != AUTO_FILE:
            copy.write_file(AUTO_FILE, b"")
        copy.write_file(config.settings_file, str(config).encode(errors="surrogateescape"))
        copy.start()

    def is_promoted(self) -> bool:
        """Return whether the recovery of the copy is complete.

        Raises: ControlFailed if its server has stopped.
        """
        if not is_standby(self.copy):
            # Earlier, a stop would leave a server that was shut down in recovery.
            return control_file(self.copy).state is ControlState.IN_PRODUCTION
        if not self.copy.is_running():
            operation = f"recover the copy in {self.copy.data_directory}"
            raise ControlFailed(operation, "its server has stopped", remedy="see its pg_ctl.log")
        return False

    def end_recovery(self) -> LSN:
        """Stop the copy cleanly, and return the position at which its recovery ended.

        Raises: ControlFailed if it has no history of its timeline.
        """
        copy = self.copy
        stop(copy)
        if control_file(copy).state is not ControlState.SHUT_DOWN:
            # An attempt was killed together with the server.
            copy.start()
            copy.stop()
        # pg_upgrade refuses prepared transactions. Without their files they are aborted here, and
        # the slots send them when they are committed on the old server.
        copy.remove_folder(f"{copy.data_directory}/pg_twophase", content_only=True)
        timeline = control_file(copy).timeline
        return last_switch(copy.read_file(f"pg_wal/{timeline:08X}.history"), timeline=timeline)

    def create_new(self, cluster: ClusterFacts, is_wanted: Callable[[], bool]) -> None:
        """Create the new data directory with initdb, which ends if it is no longer wanted."""
        self.remove_new()
        new = self.new
        arguments = initdb_arguments(
            cluster, new.data_directory, major=program_major(new, "initdb")
        )
        new.run("initdb", arguments, is_wanted=is_wanted)
        # -C only reads the settings: wrong ones would be found after pg_upgrade.
        options = [f"--{name}={value}" for name, value in self.settings.items()]
        new.run("postgres", ["-D", new.data_directory, *options, "-C", "port"])
        self._is_unused = True

    def remove_new(self) -> None:
        """Remove the content of the new data directory."""
        self._is_unused = False
        empty(self.new)
        self._remove_script()

    def upgrade(self, cluster: ClusterFacts, transfer: str, is_wanted: Callable[[], bool]) -> None:
        """Upgrade the copy into the new data directory with pg_upgrade.

        It ends if it is no longer wanted; the servers that it has started do not.
        """
        copy, new = self.copy, self.new
        if copy.read_file(_CONTROL) is None:
            # With links, pg_upgrade renames it, so that the copy cannot be started. The new
            # server was never started, and so has not changed the files.
            copy.write_file(_CONTROL, copy.read_file(f"{_CONTROL}.old"))
        # An attempt that was killed may have left anything.
        if not self._is_unused:
            self.create_new(cluster, is_wanted)
        self._is_unused = False
        arguments = upgrade_arguments(
            cluster,
            major=program_major(new, "pg_upgrade"),
            old_bindir=self.old_bindir,
            copy=copy.data_directory,
            directory=new.data_directory,
            transfer=transfer,
        )
        # It checks both clusters before it changes anything: --check would do so twice.
        new.run("pg_upgrade", arguments, is_wanted=is_wanted)
        # The options with which pg_upgrade started it.
        new.write_file("postmaster.opts", None)
        self._remove_script()

    def _remove_script(self) -> None:
        """Remove the script of pg_upgrade, which would remove the copy."""
        script = self.new.read_file(_SCRIPT)
        # Not that of another upgrade.
        if script is not None and os.fsencode(self.copy.data_directory) in script:
            self.new.write_file(_SCRIPT, None)

    def start_new(self, cluster: ClusterFacts) -> None:
        """Configure the new server, and start it."""
        new = self.new
        new.write_file("pg_hba.conf", OWN_HBA if cluster.hba is None else cluster.hba.encode())
        if cluster.ident is not None:
            # The lines of pg_hba.conf with map= need it.
            new.write_file("pg_ident.conf", cluster.ident.encode())
        write_settings(new, AUTO_FILE, {"wal_level": "logical", **self.settings})
        new.start()


def last_switch(history: bytes | None, *, timeline: int) -> LSN:
    """Return the position at which a recovery ended, from the history of its new timeline.

    Raises: ControlFailed if there is none; InvalidTimelineHistory.
    """
    switches = TimelineHistory.from_bytes(history or b"", timeline=timeline).switches
    if not switches:
        found = f"pg_wal/{timeline:08X}.history is missing or has no line"
        remedy = "undo() the plan, and run it again"
        raise ControlFailed("find where the recovery of the copy ended", found, remedy=remedy)
    return switches[-1].switchpoint


def stop(control: NodeControl) -> None:
    """Stop the server of a data directory, if there is one."""
    if control.read_file("PG_VERSION") is not None:
        control.stop()


def empty(control: NodeControl) -> None:
    """Remove the content of a data directory."""
    control.remove_folder(control.data_directory, content_only=True)
