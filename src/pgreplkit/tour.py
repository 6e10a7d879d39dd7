"""A demonstration that takes about a minute: ``python -m pgreplkit.tour``.

It starts a primary and a streaming standby, writes rows, streams changes, and reports the state
with pgreplkit's own objects. Every statement it prints is checked; the exit status is 1 if a check
fails.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pgreplkit import LSN, Primary, Standby, WalRange
from pgreplkit.changes import Commit, Delete, Insert, Update
from pgreplkit.errors import LabError
from pgreplkit.errors.extras import needs_extra
from pgreplkit.lab import Lab, Node
from pgreplkit.rows import LagReason, WalSender

with needs_extra("lab", "rich"):
    from rich import box
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
    from rich.table import Table

SLOT = "tour"
BATCHES = 50
ROWS_IN_BATCH = 5000
TIMEOUT = 60.0
"""Seconds: each step takes less than one, except on a busy machine."""


class Tour:
    """The demonstration: its output and the results of its checks."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.checks: int = 0
        self.failures: list[str] = []

    def chapter(self, title: str) -> None:
        self.console.print(f"\n[bold cyan]{title}[/]")

    def check(self, holds: bool, text: str) -> None:
        """Print a statement with a mark that shows if it holds."""
        self.checks += 1
        if not holds:
            self.failures.append(text)
        mark = "[green]✓[/]" if holds else "[bold red]✗ does not hold:[/]"
        self.console.print(f" {mark} {text}", highlight=False)

    def table(self, *columns: str) -> Table:
        return Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False)

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        """Show a transient progress bar; yield the function that advances it."""
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn())
        with Progress(
            *columns,
            MofNCompleteColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        ) as progress:
            task = progress.add_task(what, total=total)
            yield lambda done: progress.update(task, completed=done)

    def start(self, lab: Lab, version: str | None) -> tuple[Node, Node]:
        found = ", ".join(str(server.version) for server in lab.servers)
        self.console.print(f"PostgreSQL servers found on this machine: {found or 'none'}")
        with self.progress("starting a primary and a standby", 2) as moved:
            primary = lab.primary(version=version, settings={"wal_level": "logical"})
            moved(1)
            standby = lab.standby(primary, slot=SLOT)
            moved(2)
        return primary, standby

    def servers(self, primary: Primary, standby: Standby) -> None:
        self.chapter("The servers")
        table = self.table("role", "version", "timeline", "position", "in WAL file")
        size = primary.wal_segment_size()
        for server in (primary, standby):
            identity = server.identity()
            name = identity.position.wal_file(timeline=identity.timeline, segment_size=size)
            table.add_row(
                type(server).__name__,
                str(server.version),
                str(identity.timeline),
                str(identity.position),
                str(name),
            )
        self.console.print(table)
        one, other = primary.identity(), standby.identity()
        same = one.system_id == other.system_id
        self.check(same, f"both belong to the cluster that initdb numbered {one.system_id}")
        upstream = standby.upstream()
        port = primary.connection.info.port
        self.check(
            upstream is not None and (upstream.port, upstream.slot_name) == (port, SLOT),
            f"the standby follows 127.0.0.1:{port} through the slot {SLOT!r}",
        )

    def positions(self, primary: Primary) -> None:
        self.chapter("Positions are values")
        position = primary.wal_position()
        size = primary.wal_segment_size()
        lsn = position.insert
        name = lsn.wal_file(timeline=primary.timeline(), segment_size=size)
        offset = lsn.offset_in(size)
        self.check(
            position.flush <= position.write <= position.insert,
            f"flushed {position.flush} ≤ written {position.write} ≤ inserted {position.insert}",
        )
        self.check(
            name.lsn_at(offset) == lsn and lsn in name,
            f"{lsn} is byte {offset:,} of {name}, and the reverse calculation agrees",
        )
        later = lsn + 100_000_000
        server_says = primary.wal_file(later)
        self.check(
            server_says == later.wal_file(timeline=server_says.timeline, segment_size=size),
            f"100 MB later is {later} in {server_says}, {server_says - name} files later;"
            " the server agrees",
        )

    def burst(self, primary: Primary, standby: Standby) -> None:
        self.chapter(f"A burst of {BATCHES * ROWS_IN_BATCH:,} rows")
        primary.connection.execute("CREATE TABLE orders (id int8 PRIMARY KEY, placed timestamptz)")
        self.catch_up(primary, standby)
        samples = {"before": only(primary.replicas())}
        peak = samples["before"]
        start = primary.wal_position().insert
        with self.progress("writing rows", BATCHES * ROWS_IN_BATCH) as moved:
            for batch in range(BATCHES):
                write_rows(primary, batch)
                sample = only(primary.replicas())
                peak = max(peak, sample, key=lambda s: s.lag.replay_bytes or 0)
                moved((batch + 1) * ROWS_IN_BATCH)
        samples["at the worst"] = peak
        written = primary.wal_position().insert - start
        self.catch_up(primary, standby)
        samples["after"] = only(primary.replicas())
        table = self.table("lag in bytes", "sent", "written", "flushed", "replayed", "replay time")
        for when, sender in samples.items():
            lag = sender.lag
            stages = (lag.sent_bytes, lag.write_bytes, lag.flush_bytes, lag.replay_bytes)
            table.add_row(when, *(f"{n or 0:,}" for n in stages), milliseconds(sender))
        self.console.print(table)
        self.check(written > 1_000_000, f"the burst wrote {written:,} bytes of WAL")
        self.check(samples["after"].lag.replay_bytes == 0, "and the standby has replayed all of it")
        status = standby.replay_status()
        age = status.observed_at - (status.last_commit_time or status.observed_at)
        self.check(
            status.lag_reason is LagReason.CAUGHT_UP and not status.time_behind,
            f"its last replayed commit is {age.total_seconds():.2f} s old; lag is 0:"
            f" {status.lag_reason}",
        )

    def slot(self, primary: Primary, standby_node: Node) -> None:
        self.chapter("A slot keeps WAL while its standby is stopped")
        standby_node.stop()
        wait_for(lambda: not primary.replicas(), "the walsender has ended")
        with self.progress("writing rows without the standby", BATCHES) as moved:
            for batch in range(BATCHES, 2 * BATCHES):
                write_rows(primary, batch)
                moved(batch + 1 - BATCHES)
        restart_lsn = slot_position(primary)
        held = WalRange(restart_lsn, primary.wal_position().flush)
        files = list(held.files(primary.timeline(), segment_size=primary.wal_segment_size()))
        in_pg_wal = {file.name for file in primary.wal_files()}
        self.check(
            held.size > 1_000_000,
            f"restart_lsn remains {restart_lsn}: the slot keeps {held.size:,} bytes in"
            f" {len(files)} files",
        )
        primary.connection.execute("CHECKPOINT")
        self.check(
            in_pg_wal.issuperset(files)
            and {file.name for file in primary.wal_files()}.issuperset(files),
            f"{files[0]} … {files[-1]} are in pg_wal, and a checkpoint does not remove them",
        )
        checkpoint = primary.checkpoint_status()
        self.check(
            checkpoint.redo_lsn > restart_lsn,
            f"crash recovery needs WAL from {checkpoint.redo_lsn} on; the slot keeps the rest",
        )

    def catching_up(self, primary: Primary, standby_node: Node) -> None:
        self.chapter("Catching up again")
        target = primary.wal_position().flush
        behind = target - slot_position(primary)
        started = time.monotonic()
        standby_node.start()
        with standby_node.connect() as standby:
            if not isinstance(standby, Standby):
                raise LabError("the standby came back as a primary")
            with self.progress("replaying", behind) as moved:

                def caught_up() -> bool:
                    replayed = standby.replay_status().replayed_lsn or LSN.INVALID
                    moved(behind - max(0, target - replayed))
                    return replayed >= target

                wait_for(caught_up, "the standby has caught up")
            seconds = time.monotonic() - started
            status = standby.replay_status()
            self.check(
                status.unreplayed_bytes == 0 and behind > 1_000_000,
                f"{behind:,} bytes were replayed {seconds:.1f} s after its start",
            )
            counted = [count_rows(server) for server in (primary, standby)]
            expected = 2 * BATCHES * ROWS_IN_BATCH
            self.check(
                counted == [expected, expected], f"both servers count {expected:,} rows in orders"
            )
            wait_for(lambda: slot_position(primary) >= target, "the slot has moved on")
            restart_lsn = slot_position(primary)
            self.check(
                restart_lsn >= target, f"and the slot has advanced: restart_lsn is {restart_lsn}"
            )

    def changes(self, primary: Primary) -> None:
        self.chapter("Committed changes as typed rows")
        run = primary.connection.execute
        run("CREATE TABLE customers (id int8 PRIMARY KEY, name text, since date)")
        primary.create_publication("tour", tables=["customers"])
        slot = primary.create_logical_slot("tour_changes")
        run("INSERT INTO customers VALUES (1, 'Ada', '2026-11-25'), (2, 'Alan', NULL)")
        run("UPDATE customers SET name = 'Ada Lovelace' WHERE id = 1")
        run("DELETE FROM customers WHERE id = 2")
        table = self.table("change", "row")
        end = primary.wal_position().flush
        with slot.changes(publications=["tour"], stop_at=end, timeout=TIMEOUT) as stream:
            for change in stream:
                match change:
                    case Insert(new=row) | Update(new=row) | Delete(old=row):
                        table.add_row(type(change).__name__, str(row))
                    case Commit(end_lsn=lsn):
                        stream.acknowledge(lsn)
            acknowledged = stream.acknowledged
        self.console.print(table)
        self.check(
            table.row_count == 4 and slot.refresh().state.confirmed_flush_lsn == acknowledged,
            f"the slot has confirmed the acknowledged position {acknowledged}",
        )
        slot.drop()

    def catch_up(self, primary: Primary, standby: Standby) -> None:
        target = primary.wal_position().flush
        wait_for(
            lambda: (
                (standby.replay_status().replayed_lsn or LSN.INVALID) >= target
                and only(primary.replicas()).replay_lsn == primary.wal_position().flush
            ),
            "the standby has caught up",
        )

    def take(self, version: str | None) -> bool:
        """Run the demonstration; return True if all checks hold."""
        with Lab() as lab:
            primary_node, standby_node = self.start(lab, version)
            with Primary.connect(primary_node.conninfo) as primary:
                with Standby.connect(standby_node.conninfo) as standby:
                    self.servers(primary, standby)
                    self.positions(primary)
                    self.burst(primary, standby)
                self.slot(primary, standby_node)
                self.catching_up(primary, standby_node)
                self.changes(primary)
        removed = not lab.root.exists()
        self.chapter("The end")
        self.check(removed, "both servers are stopped, and all their files are removed")
        self.console.print(f"\n{self.checks - len(self.failures)} of {self.checks} checks hold.")
        return not self.failures


def only(senders: list[WalSender]) -> WalSender:
    if len(senders) != 1:
        raise LabError(f"expected one walsender, found {len(senders)}")
    return senders[0]


def milliseconds(sender: WalSender) -> str:
    lag = sender.replay_lag
    return "–" if lag is None else f"{lag.total_seconds() * 1000:.1f} ms"


def write_rows(primary: Primary, batch: int) -> None:
    primary.connection.execute(
        "INSERT INTO orders SELECT n, now() FROM generate_series(%s::int8, %s::int8) AS n",
        [batch * ROWS_IN_BATCH + 1, (batch + 1) * ROWS_IN_BATCH],
    )


def count_rows(server: Primary | Standby) -> object:
    row = server.connection.execute("SELECT count(*) FROM orders").fetchone()
    return row[0] if isinstance(row, tuple) else None


def slot_position(primary: Primary) -> LSN:
    row = primary.connection.execute(
        "SELECT restart_lsn FROM pg_replication_slots WHERE slot_name = %s", [SLOT]
    ).fetchone()
    if not isinstance(row, tuple) or not isinstance(row[0], LSN):
        raise LabError(f"slot {SLOT!r} does not exist or keeps no WAL")
    return row[0]


def wait_for(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not holds():
        if time.monotonic() > deadline:
            raise LabError(f"timed out after {TIMEOUT:.0f} s waiting until {what}")
        time.sleep(0.02)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m pgreplkit.tour", description=__doc__)
    parser.add_argument(
        "--pg", metavar="MAJOR", help="the major version; by default the newest installed"
    )
    arguments = parser.parse_args()
    console = Console()
    tour = Tour(console)
    try:
        return 0 if tour.take(arguments.pg) else 1
    except LabError as error:
        console.print(f"[bold red]The tour ended early:[/] {error}", highlight=False)
        return 1


if __name__ == "__main__":
    sys.exit(main())
