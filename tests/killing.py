"""Writers and processes of the programs in ``tests/kills``."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psycopg

from pgreplkit import LSN
from pgreplkit.lab import Node


class Writers:
    """Sessions that write until they are stopped, across restarts of the source.

    ``write`` runs one transaction of a session, with the session's number.
    """

    def __init__(
        self,
        source: Node,
        seed: int,
        count: int,
        write: Callable[[psycopg.Connection, random.Random, int], None],
    ) -> None:
        self._source, self._write, self._stopped = source, write, threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(number, random.Random(seed * 100 + number)))
            for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int, chance: random.Random) -> None:
        while not self._stopped.is_set():
            with (
                contextlib.suppress(psycopg.Error),
                psycopg.connect(self._source.conninfo, connect_timeout=5) as writer,
            ):
                while not self._stopped.is_set():
                    self._write(writer, chance, number)
            time.sleep(0.05)


class Process:
    """A program that is started again whenever it has ended, unless with status 3."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self._command, self._log = command, log.open("w")
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, stderr=self._log)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Ask it to end, as a supervisor does; insist that it ends well."""
        self.process.terminate()
        status = self.process.wait(60)
        # It may just have been starting: then SIGTERM ends it as it ends every program.
        if status not in (0, 1, -signal.SIGTERM):
            raise SystemExit(f"status {status}: {Path(self._log.name).read_text()[-2000:]}")

    def ensure(self) -> None:
        status = self.process.poll()
        if status == 3:
            raise SystemExit(f"it gave up: {Path(self._log.name).read_text()[-2000:]}")
        if status is not None:
            self.start()


def applier_command(config: Path) -> list[str]:
    return [sys.executable, "-m", "pgreplkit.apply", str(config)]


def commit_or_roll_back(writer: psycopg.Connection, chance: random.Random) -> None:
    if chance.random() < 0.1:
        writer.rollback()
    else:
        writer.commit()


def position(node: Node) -> LSN:
    with psycopg.connect(node.conninfo) as connection:
        [text] = connection.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone() or [""]
        return LSN(text)
