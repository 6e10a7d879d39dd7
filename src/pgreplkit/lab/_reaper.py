"""Stop a lab's servers and remove its files once the lab is closed or its process has ended.

This is a separate program, ``_reaper.py uid gid``. It creates the lab's directory, prints the path,
and waits until its standard input ends or its parent dies. Because it is a separate process, it
works even if the parent is killed by SIGKILL.
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

_NAMES = ("postgres", "initdb", "pg_", "nats-server", "redis-server")
# An immediate shutdown takes milliseconds; a process that ignores SIGQUIT for 10 s is killed.
_GRACE = 10.0
# A process that waits for a broken disk or network file system cannot be killed; after 10 s more
# it is left alone, so that the lab that waits for this program can end.
_GIVEN_UP_AFTER = 20.0
# The command of shmctl(2) that removes a segment, from <sys/ipc.h>.
_IPC_RMID = 0


def main() -> None:
    parent = os.getppid()
    uid, gid = int(sys.argv[1]), int(sys.argv[2])
    if os.geteuid() != uid:
        # In a container without CAP_SYS_PTRACE root cannot read another account's /proc/PID/cwd;
        # the account that owns the processes can.
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    root = _new_folder()
    print(root, flush=True)
    while os.getppid() == parent:
        # The parent's death does not always close the pipe: a forked child may hold it open.
        # So check the parent's pid as well, once a second.
        if select.select([0], [], [], 1.0)[0] and not os.read(0, 1):
            break
    reap(root)


def _new_folder() -> Path:
    for folder in dict.fromkeys((tempfile.gettempdir(), "/tmp", "/var/tmp")):  # noqa: S108
        try:
            return Path(tempfile.mkdtemp(prefix="pgreplkit-lab-", dir=folder)).resolve()
        except OSError:
            continue
    sys.exit("could not create a temporary directory: no candidate is writable; set TMPDIR")


def reap(root: Path) -> None:
    """Stop every server process that works below ``root``, then remove ``root``."""
    began = time.monotonic()
    deadline = began + _GRACE
    while (processes := _processes(root)) and time.monotonic() < began + _GIVEN_UP_AFTER:
        for process in processes:
            # SIGQUIT is PostgreSQL's immediate shutdown, which releases its shared memory.
            _send(process, signal.SIGQUIT if time.monotonic() < deadline else signal.SIGKILL)
        # Servers end in a few milliseconds; the last ones are signalled again after that time.
        psutil.wait_procs(processes, timeout=0.1)
    for pidfile in root.glob("*/postmaster.pid"):
        _free_shared_memory(pidfile.read_text().split("\n"))
    shutil.rmtree(root, ignore_errors=True)


def _processes(root: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            # Check the program's name too: a user's shell in the directory must survive.
            if process.name().startswith(_NAMES) and Path(process.cwd()).is_relative_to(root):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def _send(process: psutil.Process, number: signal.Signals) -> None:
    with contextlib.suppress(psutil.Error):
        process.send_signal(number)


def _free_shared_memory(pidfile: list[str]) -> None:
    """Remove the System V segment that a server killed by SIGKILL has left behind.

    The segment's id may have been reused, so check its creator and that nothing is attached.
    """
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
