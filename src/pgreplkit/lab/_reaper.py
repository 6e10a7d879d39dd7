"""Ends what a lab started, when the lab is closed or its process is gone in whatever way.

Run as a program of its own: ``_reaper.py uid gid``. It makes the lab's folder, prints its path, and
waits until its standard input ends or its parent has died; no signal to the parent can prevent it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import psutil

_NAMES = ("postgres", "initdb", "pg_")
_GRACE = 10.0
_IPC_RMID = 0


def main() -> None:
    parent = os.getppid()
    uid, gid = int(sys.argv[1]), int(sys.argv[2])
    if os.geteuid() != uid:
        # A bare container's root may not look into other accounts' processes; their owner may.
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    root = _new_folder()
    print(root, flush=True)
    while os.getppid() == parent:
        # The pipe alone is no proof: a forked child of the parent may hold it open.
        if select.select([0], [], [], 1.0)[0] and not os.read(0, 1):
            break
    reap(root)


def _new_folder() -> Path:
    for folder in dict.fromkeys((tempfile.gettempdir(), "/tmp", "/var/tmp")):  # noqa: S108
        try:
            return Path(tempfile.mkdtemp(prefix="pgreplkit-lab-", dir=folder)).resolve()
        except OSError:
            continue
    sys.exit("no temporary folder can be written")


def reap(root: Path) -> None:
    """End every process that works under ``root``, then remove ``root``."""
    deadline = time.monotonic() + _GRACE
    while processes := _processes(root):
        for process in processes:
            # SIGQUIT is PostgreSQL's immediate shutdown, which frees its shared memory.
            _send(process, signal.SIGQUIT if time.monotonic() < deadline else signal.SIGKILL)
        psutil.wait_procs(processes, timeout=0.1)
    for pidfile in root.glob("*/postmaster.pid"):
        _free_shared_memory(pidfile.read_text().split("\n"))
    shutil.rmtree(root, ignore_errors=True)


def _processes(root: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            # By name too: a shell that someone opened in the folder is not ours to end.
            if process.name().startswith(_NAMES) and Path(process.cwd()).is_relative_to(root):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def _send(process: psutil.Process, number: signal.Signals) -> None:
    with contextlib.suppress(psutil.Error):
        process.send_signal(number)


def _free_shared_memory(pidfile: list[str]) -> None:
    """Remove the System V segment that a server killed with SIGKILL leaves, if it is still its."""
    try:
        pid, segment = pidfile[0], pidfile[6].split()[1]
        rows = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
    except (OSError, IndexError):
        return
    for row in rows:
        _, shmid, _, _, creator, _, attached, *_ = row.split()
        if (shmid, creator, attached) == (segment, pid, "0"):
            ctypes.CDLL(None).shmctl(int(shmid), _IPC_RMID, None)


if __name__ == "__main__":
    main()
