"""AsyncClonePlan: a new standby, copied from a running server with progress reports."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from datetime import timedelta
from logging import getLogger
from pathlib import PurePath
from posixpath import normpath
from queue import Empty, SimpleQueue
from threading import Event
from typing import Self

import attrs
from psycopg.conninfo import make_conninfo

from pgreplkit._async._io import TaskGroup, sleep, to_thread
from pgreplkit._async.server.server import AsyncServer
from pgreplkit._async.wire.closing import AsyncClosing
from pgreplkit._hooks import html_of
from pgreplkit.catalog.server.basebackups import TABLESPACES
from pgreplkit.catalog.server.senders import SenderState, WalSender
from pgreplkit.driver.backoff import Backoff
from pgreplkit.driver.conninfo import (
    address,
    insist_on_conninfo,
    parameters_of,
    standby_conninfo,
    with_database,
)
from pgreplkit.driver.secrets import private_conninfo
from pgreplkit.errors import (
    ConnectionFailed,
    ControlFailed,
    Error,
    InsufficientPrivilege,
    ServerError,
    SlotActive,
    SlotNotFound,
    WaitTimeout,
)
from pgreplkit.host.configuration import AUTO_FILE
from pgreplkit.host.localcontrol import LocalControl
from pgreplkit.host.nodecontrol import NodeControl
from pgreplkit.host.programs import program_major
from pgreplkit.host.recoveryfiles import write_settings, write_standby_files
from pgreplkit.plans.cluster.clone import (
    CheckpointMode,
    Clone,
    ClonePhase,
    CloneProgress,
    WalMethod,
    after,
)
from pgreplkit.plans.cluster.standbyconfig import (
    StandbyConfig,
    fit_conninfo,
    standby_config,
)
from pgreplkit.plans.cluster.upstream import why_unusable
from pgreplkit.values.applicationname import application_name_for
from pgreplkit.values.flags import checked_flags
from pgreplkit.values.madeby import made_by
from pgreplkit.values.plain import JSONValue
from pgreplkit.values.seconds import Timeout
from pgreplkit.values.several import by_name, texts_by_name

_LOGGER = getLogger("pgreplkit.plans")

_PROGRESS_INTERVAL = 0.1
"""Seconds between two reports: often enough for a progress bar."""
_STOP_TIMEOUT = 30.0
"""Seconds for pg_basebackup to stop after a failure, before its files are removed."""


def aplan_clone(
    conninfo: str,
    directory: str | os.PathLike[str],
    *,
    bindir: str | os.PathLike[str] | None = None,
    control: NodeControl | None = None,
    slot: str | None = None,
    application_name: str | None = None,
    tablespaces: Mapping[str, str] | None = None,
    max_rate: int | None = None,
    wal_method: WalMethod = "stream",
    checkpoint: CheckpointMode = "spread",
    compression: str | None = None,
    settings: Mapping[str, str] | None = None,
    start_server: bool = True,
    timeout: Timeout = 60.0,
) -> AsyncClonePlan:
    """Plan a new standby that is a copy of a server; iterate the plan or run it to make the copy.

    ``conninfo`` is the server's connection string; it may be a standby, for a cascade. The
    ``directory`` must be on this machine, and missing or empty. The programs come from ``bindir``,
    or from the directory that pg_config reports. For another machine, pass its ``control``.

    - ``slot``: used by the copy and then by the standby; created if it does not exist.
    - ``application_name``: by default the slot's name, or a name made from that of the directory.
    - ``tablespaces``: moves tablespaces, from old to new absolute paths.
    - ``max_rate``: limit of the transfer in bytes per second.
    - ``compression``: compression by the server during the transfer, as "zstd" or "gzip:5".
    - ``checkpoint``: a "fast" checkpoint does not wait, but causes a burst of writes.
    - ``settings``: written for the new server, such as its port.
    - ``start_server``: start the standby, and wait up to ``timeout`` seconds until it streams.

    A password in ``conninfo`` is stored in the standby's data directory. During the copy it is in
    a file that only the server's account can read, and never in the list of processes.

    Raises:
        ValueError: If an option has a value that no server accepts.
        ConnectionFailed: If the connection string is malformed.
        ControlFailed: If pg_ctl is not found.
    """
    checked_flags(start_server=start_server)
    insist_on_conninfo(conninfo)
    parameters_of(conninfo)
    folder = os.fspath(directory)
    if control is not None and control.data_directory != folder:
        raise ValueError(f"the control is of {control.data_directory}, and not of {folder}")
    options = Clone(
        source=address(conninfo),
        directory=folder,
        slot=slot,
        application_name=application_name or slot or application_name_for(PurePath(folder).name),
        tablespaces=by_name(tablespaces, "tablespaces"),
        max_rate=max_rate,
        wal_method=wal_method,
        checkpoint=checkpoint,
        compression=compression,
    )
    acting = control or LocalControl(folder, bindir=bindir)
    texts, start_timeout = texts_by_name(settings, "settings"), timeout if start_server else None
    return AsyncClonePlan(conninfo, acting, options, texts, start_timeout)


@made_by("plan_clone(conninfo, directory) or aplan_clone(conninfo, directory)")
class AsyncClonePlan(AsyncClosing):
    """A plan for a new standby; iterate over it for its progress, or ``run`` it.

    If the clone fails or is closed early, the files that it created are removed, and so is the slot
    if the clone created it. A complete copy remains, even if the server cannot be started.
    """

    def __init__(
        self,
        conninfo: str,
        control: NodeControl,
        options: Clone,
        settings: Mapping[str, str],
        start_timeout: Timeout | None,
    ) -> None:
        self._conninfo = conninfo
        self._source = ""
        self._control = control
        self._options = options
        self._settings = dict(settings)
        self._start_timeout = start_timeout
        self._given_up = Event()
        self._made_slot = False
        self._progresses = self._make()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> CloneProgress:
        return await self._progresses.__anext__()

    async def run(self, on_progress: Callable[[CloneProgress], None] | None = None) -> None:
        """Make the standby; ``on_progress`` is called with each progress report.

        Raises:
            ControlFailed: If the directory or that of a tablespace is not empty, or a program
                fails.
            SlotActive: If the slot is in use.
            UnsupportedByServer: For ``compression`` before version 15.
            WaitTimeout: If the standby does not stream in time; the copy is complete then.
            ConnectionFailed: If the server cannot be reached.
            InsufficientPrivilege: If the role lacks a privilege.

        Needs:
            REPLICATION, and access to a database; without a slot pg_monitor.

        Source:
            pg_basebackup.
        """
        async with self:
            async for progress in self:
                if on_progress is not None:
                    on_progress(progress)

    async def close(self) -> None:
        """Stop the clone and remove what it created; does nothing once the clone is done."""
        await self._progresses.aclose()

    async def _make(self) -> AsyncGenerator[CloneProgress, None]:
        began = time.monotonic()
        control = self._control
        # No connection stays open during the copy: a firewall may cut one that is idle for long.
        async with await self._server() as server:
            self._source = fit_conninfo(
                standby_conninfo(server.connection, self._conninfo, major=server.version.major),
                server.version,
            )
            # Raises early if the password cannot be stored in a file.
            private_conninfo(self._source, self._conninfo)
            config = self._config(server.version.major)
            folders = {control.data_directory, *await self._tablespaces(server)}
            before = await to_thread(
                lambda: {folder: _content(control, folder) for folder in folders}
            )
            progress = CloneProgress(checkpoint_limit=await self._prepare(server))
        lines = SimpleQueue[str]()
        group = TaskGroup(1)
        # pg_basebackup runs in a thread, which passes its output through a queue.
        job, copying_since = group.start(lambda: self._copied(lines)), began
        try:
            while True:
                is_over, now = job.done(), time.monotonic()
                if progress.phase is ClonePhase.WAITING_FOR_CHECKPOINT:
                    copying_since = now
                phase = progress.phase
                progress = attrs.evolve(
                    _read(progress, lines),
                    elapsed=timedelta(seconds=now - began),
                    copying_for=timedelta(seconds=now - copying_since),
                )
                if progress.phase is not phase:
                    _LOGGER.info("clone into %s: %s", control.data_directory, progress.phase)
                yield progress
                if is_over:
                    break
                await group.wait([job], _PROGRESS_INTERVAL)
            job.result()
            yield attrs.evolve(progress, phase=ClonePhase.CONFIGURING)
            await to_thread(lambda: self._configure(config))
        except BaseException as error:
            # The program is terminated; its files can be removed when it has ended.
            self._given_up.set()
            await group.wait([job], _STOP_TIMEOUT)
            if job.done():
                job.exception()  # Retrieved, because asyncio logs errors that nothing retrieves.
            try:
                await self._clean(before)
            except Error as failed:
                error.add_note(f"some of its files, or its slot, could not be removed: {failed}")
            raise
        finally:
            await group.close()
        if self._start_timeout is not None:
            yield attrs.evolve(progress, phase=ClonePhase.STARTING)
            await self._start(self._start_timeout)
        elapsed = timedelta(seconds=time.monotonic() - began)
        yield attrs.evolve(progress, phase=ClonePhase.DONE, elapsed=elapsed)

    async def _server(self) -> AsyncServer:
        # Once resolved, always the same server: of several hosts another one may answer later.
        return await AsyncServer.connect(with_database(self._source or self._conninfo))

    async def _tablespaces(self, server: AsyncServer) -> list[str]:
        """Return the directories of the tablespaces on the standby."""
        moved = {normpath(old): new for old, new in self._options.tablespaces.items()}
        records = await server._link.all("read the locations of the tablespaces", TABLESPACES)
        locations = [str(record["location"]) for record in records]
        return [moved.get(location, location) for location in locations]

    async def _clean(self, before: Mapping[str, bool]) -> None:
        """Remove the files, and the slot if it was created here."""
        await to_thread(lambda: _remove(self._control, before))
        if self._made_slot and self._options.slot:
            async with await self._server() as server:
                await (await server.slot(self._options.slot)).drop(force=True)

    async def _prepare(self, server: AsyncServer) -> timedelta | None:
        """Check the server and the programs, and create the slot if it does not exist.

        Return the maximum duration of the checkpoint; None for a fast one.
        """
        options, major = self._options, server.version.major
        if options.compression is not None:
            server._link.require("basebackup.server_compression")
        version = await to_thread(lambda: program_major(self._control, "pg_basebackup"))
        if version < major:
            found = (
                f"pg_basebackup has major version {version} and must not be older than the server"
            )
            raise ControlFailed(f"copy a server of major version {major}", found)
        if options.slot is None and self._start_timeout is not None:
            # Needed at the end; a missing privilege should be reported before the copy.
            await server.replicas()
        if self._start_timeout is not None:
            await self._insist_on_configuration(server)
            await to_thread(lambda: self._insist_on_folder(major))
        status = await server.checkpoint_status()
        if options.slot is not None:
            self._made_slot = await _ensure_slot(server, options.slot)
        if options.checkpoint == "fast":
            return None
        # A spread checkpoint aims at this share of the interval.
        return status.checkpoint_timeout * status.checkpoint_completion_target

    async def _insist_on_configuration(self, server: AsyncServer) -> None:
        """Refuse to start a copy that would have no configuration file."""
        control = self._control
        if not isinstance(control, LocalControl) or control.config_file is not None:
            return  # The command that starts the server knows where its configuration is.
        try:
            config_file = str((await server.setting("config_file")).value)
            data_directory = str((await server.setting("data_directory")).value)
        except InsufficientPrivilege:
            # The role may not see the settings: the start itself will show whether a file is
            # missing.
            return
        if not config_file.startswith(f"{normpath(data_directory)}/"):
            raise ControlFailed(
                f"clone a standby into {control.data_directory}",
                f"the copy will have no configuration file, which the source has in {config_file}",
                remedy="pass control=LocalControl(…, config_file=…), or start_server=False",
            )

    def _insist_on_folder(self, major: int) -> None:
        """Refuse a directory in which the copy would not start."""
        if isinstance(self._control, LocalControl):
            operation = f"clone a standby into {self._control.data_directory}"
            self._control.insist_on_startable(operation, major)

    async def _copied(self, lines: SimpleQueue[str]) -> None:
        await to_thread(lambda: self._copy(lines))

    def _copy(self, lines: SimpleQueue[str]) -> None:
        conninfo, passfile = private_conninfo(self._source, self._conninfo)
        with contextlib.ExitStack() as stack:
            if passfile is not None:
                path = stack.enter_context(self._control.private_file(passfile))
                conninfo = make_conninfo(conninfo, passfile=path)
            self._control.run(
                "pg_basebackup",
                self._options.arguments(conninfo),
                on_line=lines.put,
                is_wanted=lambda: not self._given_up.is_set(),
            )

    def _config(self, major: int) -> StandbyConfig:
        """Return the standby's configuration; made before the copy, so that errors come early."""
        return standby_config(
            self._source,
            server_version=major,
            slot=self._options.slot,
            application_name=self._options.application_name,
        )

    def _configure(self, config: StandbyConfig) -> None:
        write_standby_files(self._control, config)
        if self._settings:
            # Before 12 the settings of a standby are in recovery.conf, and these are no such
            # settings.
            name = AUTO_FILE if config.signal_file is not None else "postgresql.conf"
            write_settings(self._control, name, self._settings)

    async def _start(self, timeout: Timeout) -> None:
        """Start the standby, and wait until it streams."""
        async with await self._server() as server:
            # Another standby may have the same name, and must not be taken for the new one.
            others = {sender.pid for sender in await self._senders(server)}
        await to_thread(self._control.start)
        backoff = Backoff(timeout)
        while (found := await self._why_not_streaming(others)) is not None:
            if backoff.is_over:
                raise WaitTimeout(
                    f"timed out after {backoff.limit:g} s waiting for the new standby in"
                    f" {self._control.data_directory}: the copy is complete and was started, but"
                    f" {found}; see its server log"
                )
            await sleep(backoff.next_pause())

    async def _why_not_streaming(self, others: Collection[int]) -> str | None:
        """Return why the standby does not count as streaming; None if it streams."""
        try:
            async with await self._server() as server:
                return None if await self._streams(server, others) else "it does not stream"
        except ConnectionFailed as error:
            return f"it is unknown whether it streams ({error})"

    async def _streams(self, server: AsyncServer, others: Collection[int]) -> bool:
        if self._options.slot is not None:
            return bool((await server.slot(self._options.slot)).state.active)
        return any(sender.pid not in others for sender in await self._senders(server))

    async def _senders(self, server: AsyncServer) -> list[WalSender]:
        """Return the walsenders of standbys with its application_name, which others may share."""
        if self._options.slot is not None:
            return []
        name, streaming = self._options.application_name, SenderState.STREAMING
        senders = await server.replicas()
        return [s for s in senders if s.application_name == name and s.state is streaming]

    def to_dict(self) -> dict[str, JSONValue]:
        """Return the address, the directory and the options as JSON types, without a password."""
        return self._options.to_dict()

    def __str__(self) -> str:
        return str(self._options)

    def _repr_html_(self) -> str:
        return html_of(self._options)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} into {self._control.data_directory}>"


async def _ensure_slot(server: AsyncServer, name: str) -> bool:
    """Ensure that the slot exists and is free; return whether it was created."""
    try:
        slot = await server.slot(name)
    except SlotNotFound:
        # The WAL from the start of the copy on must still be there at its end.
        await server.create_physical_slot(name, reserve_wal=True)
        return True
    action = f"clone a standby with the slot {name!r}"
    if slot.state.active:
        raise SlotActive(action, name, slot.state.active_pid, None, None)
    if reason := why_unusable(slot.state):
        remedy = "drop it first, or use another one"
        raise ServerError(action, f"the slot is {reason}", remedy=remedy)
    return False


def _content(control: NodeControl, folder: str) -> bool:
    """Return whether the directory exists.

    Raises:
        ControlFailed: If the directory is not empty.
    """
    content = control.list_folder(folder)
    if content:
        found = f"{folder} is not empty and was not changed: it contains {content[0]!r}"
        moving = "" if folder == control.data_directory else "; use tablespaces= to move it"
        raise ControlFailed("clone a standby", found + moving)
    return content is not None


def _remove(control: NodeControl, before: Mapping[str, bool]) -> None:
    for folder, was_there in before.items():
        control.remove_folder(folder, content_only=was_there)


def _read(progress: CloneProgress, lines: SimpleQueue[str]) -> CloneProgress:
    with contextlib.suppress(Empty):
        while True:
            progress = after(progress, lines.get_nowait())
    return progress
