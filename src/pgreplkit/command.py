"""The command ``python -m pgreplkit``: reports about servers, files and values; it only reads."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence

import pgreplkit

# Imports that a subcommand does not need would cost more than the subcommand itself.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from pgreplkit import LSN
    from pgreplkit.rows import Readiness
    from pgreplkit.wal import WalReader

UNKNOWN = 3
"""The exit status for errors, as monitoring plugins have it."""
CONNINFO = "connection string or URI; by default from PGHOST and the other variables of libpq"


class _Parser(argparse.ArgumentParser):
    """A parser whose errors have the exit status 3: 2 would mean CRITICAL."""

    def error(self, message: str) -> NoReturn:
        self.exit(UNKNOWN, f"{self.prog}: {message}; see {self.prog} --help\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = _parser()
    _complete(parser)
    given = parser.parse_args(arguments)
    try:
        return _run(given)
    except KeyboardInterrupt:
        return 0
    except BrokenPipeError:
        # The reader, such as head, has seen enough; nothing is left to flush.
        sys.stdout = None
        return 0
    except Exception as error:
        if given.debug:
            raise
        return _failed(given, error)


def _failed(given: argparse.Namespace, error: Exception) -> int:
    """Report an error as one line, or with --check as the result of the check."""
    if given.check and isinstance(error, pgreplkit.Error):
        return _checked(given, error)
    known = isinstance(error, pgreplkit.Error | OSError | ValueError | LookupError)
    text = " ".join(str(error).split())
    print(f"pgreplkit: {text if known else f'{type(error).__name__}: {text}'}", file=sys.stderr)
    return UNKNOWN


def _run(given: argparse.Namespace) -> int:
    result = given.call(given)
    if not isinstance(result, Iterator):
        return _checked(given, result) if given.check else _shown(given, result)
    if given.check:
        # A check of a stream reads it to its end, or to its damage.
        return _checked(given, [*result])
    for item in result:
        print(_json(item.to_dict()) if given.json else item, flush=True)
    return 0


def _shown(given: argparse.Namespace, result: Any) -> int:
    many = isinstance(result, list)
    if given.json:
        content = [row.to_dict() for row in result] if many else result
        print(_json(content if isinstance(content, list | dict) else content.to_dict()))
    elif isinstance(result, dict):
        print("\n".join(f"{name:9} {value}" for name, value in result.items()))
    else:
        _print(str(pgreplkit.rows.Rows(result) if many else result))
    return 0


def _checked(given: argparse.Namespace, report: object) -> int:
    result = pgreplkit.checks.CheckResult.of(
        report,  # type: ignore[arg-type]
        warning=_limits(given.warning),
        critical=_limits(given.critical),
    )
    print(_json(result.to_dict()) if given.json else result)
    return result.exit_code


def _json(content: object) -> str:
    import json

    return json.dumps(content)


def _limits(given: list[str]) -> dict[str, str] | str | None:
    """Return ``30``, or ``lag_bytes=1000 lag_seconds=30``, as limits."""
    if len(given) == 1 and "=" not in given[0]:
        return given[0]
    named = [text.partition("=") for text in given]
    if any(not limit for _, _, limit in named):
        raise ValueError("several thresholds need names, as in lag_bytes=1000")
    return {name: limit for name, _, limit in named} or None


def _print(text: str) -> None:
    """Print text, with colours if rich is installed and a person reads it."""
    try:
        from rich.console import Console
        from rich.text import Text
    except ImportError:
        print(text)
        return
    coloured = Text(text)
    coloured.highlight_regex(r"(?m)^critical|!!.*|\bdown\b|not streaming|not ready", "red")
    coloured.highlight_regex(r"(?m)^warning|\bpaused\b|\bdelayed\b", "yellow")
    coloured.highlight_regex(r"\bcaught up\b|\bprimary\b|^ready", "green")
    Console(highlight=False).print(coloured, soft_wrap=True)


def _tree(given: argparse.Namespace) -> object:
    return pgreplkit.Cluster.discover(given.conninfo).topology


def _lag(given: argparse.Namespace) -> object:
    if given.watch:
        return iter(pgreplkit.Watch(given.conninfo, interval=given.interval))
    # As long as a connection may take by default.
    with pgreplkit.Watch(given.conninfo, timeout=10) as watch:
        return next(watch)


def _slots(given: argparse.Namespace) -> object:
    with pgreplkit.connect(given.conninfo) as server:
        return [slot.state for slot in server.slots()]


def _retention(given: argparse.Namespace) -> object:
    with pgreplkit.connect(given.conninfo) as server:
        return server.wal_retention(window=given.window, disk_size=given.disk_size)


def _ready(given: argparse.Namespace) -> Readiness:
    with pgreplkit.connect(given.conninfo) as server:
        if given.subscriber is None:
            return server.check_readiness()
        with pgreplkit.Primary.connect(given.subscriber) as subscriber:
            return subscriber.check_subscriber_readiness(server)


def _subscriptions(given: argparse.Namespace) -> object:
    with pgreplkit.Primary.connect(given.conninfo) as server:
        return [subscription.status() for subscription in server.subscriptions()]


def _drift(given: argparse.Namespace) -> object:
    with (
        pgreplkit.connect(given.publisher) as publisher,
        pgreplkit.connect(given.subscriber) as subscriber,
    ):
        return pgreplkit.schema_drift(publisher, subscriber)


def _upgrade_check(given: argparse.Namespace) -> Readiness:
    connect = pgreplkit.Primary.connect
    with connect(given.old) as old, connect(given.new) as new:
        return pgreplkit.upgrade.Upgrade(old, new, name="upgrade").check()


def _opened(given: argparse.Namespace) -> WalReader:
    return pgreplkit.wal.open_wal(
        given.path, start=given.start, stop_at=given.stop_at, strict=given.check
    )


def _archive(given: argparse.Namespace) -> object:
    return pgreplkit.wal.scan_archive(given.path, verify=given.verify)


def _plan_show(given: argparse.Namespace) -> object:
    from pathlib import Path

    from pgreplkit.host.journalfile import read_journal

    return read_journal(Path(given.journal))


def _lsn(given: argparse.Namespace) -> dict[str, object]:
    lsn = _position(given.value)
    parts = {"lsn": str(lsn), "bytes": int(lsn)}
    if given.timeline is None:
        return parts
    size = pgreplkit.SegmentSize.parse(given.segment_size)
    file = lsn.wal_file(timeline=given.timeline, segment_size=size)
    return {**parts, "wal_file": str(file), "offset": lsn.offset_in(size)}


def _position(text: str) -> LSN:
    return pgreplkit.LSN(int(text) if text.isdecimal() else text)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="pgreplkit",
        description="Report on PostgreSQL replication. Nothing is changed on any server.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    several = _command(commands, "tree", _tree, "the upstream of each server")
    several.add_argument("conninfo", nargs="+", help=CONNINFO)
    lag = _command(commands, "lag", _lag, "role, position and lag of each server")
    lag.add_argument("conninfo", nargs="+", help=CONNINFO)
    lag.add_argument("--watch", action="store_true", help="repeat until interrupted")
    lag.add_argument("--interval", type=float, default=1.0, help="seconds between two samples")
    _server(_command(commands, "slots", _slots, "the replication slots of a server"))
    retention = _command(commands, "retention", _retention, "the holders of WAL on a server")
    _server(retention).add_argument("--window", type=float, help="seconds to measure the WAL rate")
    retention.add_argument("--disk-size", type=int, help="bytes that pg_wal may reach")
    ready = _command(commands, "ready", _ready, "whether a server is ready for replication")
    help_ = "check whether this server is ready to subscribe to the other"
    _server(ready).add_argument("--subscriber", metavar="CONNINFO", help=help_)
    _server(_command(commands, "subscriptions", _subscriptions, "the subscriptions of a database"))
    drift = _command(commands, "drift", _drift, "differences between the tables of two servers")
    drift.add_argument("publisher", help=CONNINFO)
    drift.add_argument("subscriber", help=CONNINFO)
    upgrade = commands.add_parser("upgrade", help="major upgrades").add_subparsers(required=True)
    check = _command(upgrade, "check", _upgrade_check, "the checks before an upgrade of a database")
    check.add_argument("old", help=CONNINFO)
    check.add_argument("new", help=CONNINFO)
    _add_files(commands)
    return parser


def _add_files(commands: argparse._SubParsersAction[_Parser]) -> None:
    """Add the commands that need no server."""
    wal = commands.add_parser("wal", help="the records in WAL files").add_subparsers(required=True)
    for name, call, about in (
        ("stats", lambda given: _opened(given).stats(), "the volume of each kind of record"),
        ("records", lambda given: iter(_opened(given)), "all records"),
        ("commits", lambda given: _opened(given).commits(), "the commits"),
    ):
        one = _command(wal, name, call, about)
        one.add_argument("path", help="a WAL file, or a directory such as pg_wal or an archive")
        one.add_argument("--start", type=_position, help="the first position")
        one.add_argument("--stop-at", type=_position, help="the end position")
    archive = _command(commands, "archive", _archive, "what a WAL archive contains, and lacks")
    archive.add_argument("path", help="the directory")
    archive.add_argument("--verify", action="store_true", help="read and verify all records")
    lsn = _command(commands, "lsn", _lsn, "a position as number, WAL file and offset")
    lsn.add_argument("value", help="such as 16/B374D848, or a number of bytes")
    lsn.add_argument("--timeline", type=int, help="report the WAL file on this timeline too")
    lsn.add_argument("--segment-size", default="16MB", help="the size of WAL files")
    plan = commands.add_parser("plan", help="operations").add_subparsers(required=True)
    show = _command(plan, "show", _plan_show, "how far an operation is, from its journal")
    show.add_argument("journal", help="the journal file")


def _command(
    commands: argparse._SubParsersAction[_Parser],
    name: str,
    call: Callable[[argparse.Namespace], object],
    about: str,
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=about, description=f"Report {about}.")
    command.set_defaults(call=call)
    command.add_argument("--json", action="store_true", help="print JSON")
    help_ = "print the result of a monitoring plugin, and exit with 0, 1, 2 or 3"
    command.add_argument("--check", action="store_true", help=help_)
    for option in ("--warning", "--critical"):
        help_ = "threshold such as 30, 10:20 or lag_bytes=1000"
        command.add_argument(option, action="append", default=[], metavar="RANGE", help=help_)
    command.add_argument("--debug", action="store_true", help="print the traceback of an error")
    return command


def _server(command: argparse.ArgumentParser) -> argparse.ArgumentParser:
    command.add_argument("conninfo", nargs="?", default="", help=CONNINFO)
    return command


def _complete(parser: argparse.ArgumentParser) -> None:
    # Only a shell that completes sets it; otherwise the import would cost too much.
    import os

    if "_ARGCOMPLETE" in os.environ:
        try:
            import argcomplete
        except ImportError:
            return
        argcomplete.autocomplete(parser)
