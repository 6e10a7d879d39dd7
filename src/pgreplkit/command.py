"""The command ``python -m pgreplkit``: reports about servers, files and values; it only reads."""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from importlib.util import find_spec

import pgreplkit

# Imports that a subcommand does not need would cost more than the subcommand itself.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn, TypeAlias

    from pgreplkit import LSN

    Given: TypeAlias = argparse.Namespace
    Option: TypeAlias = tuple[str, dict[str, Any]]

UNKNOWN = 3
"""The exit status for errors, as monitoring plugins have it."""
CONNINFO = "connection string or URI; by default from PGHOST and the other variables of libpq"


class _Parser(argparse.ArgumentParser):
    """A parser whose errors have the exit status 3: 2 would mean CRITICAL."""

    def __init__(self, **settings: Any) -> None:
        # Without a width, the import of shutil would find that of the terminal.
        super().__init__(formatter_class=partial(argparse.HelpFormatter, width=98), **settings)

    def error(self, message: str) -> NoReturn:
        self.exit(UNKNOWN, f"{self.prog}: {message}; see {self.prog} --help\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = _parser(arguments[0] if arguments else "")
    _complete(parser)
    given = parser.parse_args(arguments)
    # Without the check, the thresholds would be ignored, and the exit status always 0.
    given.check = given.check or bool(given.warning or given.critical)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Names from servers can have characters that the terminal lacks.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = _reported(given)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        # As other programs: at once, without waiting for a server that does not answer.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.raise_signal(signal.SIGINT)
        return UNKNOWN
    except BrokenPipeError:
        # The reader, such as head, has seen enough; nothing is left to flush.
        sys.stdout = None
        return UNKNOWN if given.check else 0
    except OSError as error:
        # Python would write what is left at its end, and end with a status of its own.
        with suppress(OSError):
            sys.stdout.flush()
        sys.stdout = None
        return _failed(given, error)


def _reported(given: Given) -> int:
    """Print the report, or the error; return the exit status."""
    try:
        return _run(given)
    except OSError:
        # It may be the output that cannot be written.
        raise
    except Exception as error:
        return _failed(given, error)


def _failed(given: Given, error: Exception) -> int:
    """Report an error as one line, or as the result of a check."""
    from pgreplkit.values.text import clean

    if given.debug:
        sys.excepthook(type(error), error, error.__traceback__)
        return UNKNOWN
    if not isinstance(error, pgreplkit.Error | OSError | ValueError | LookupError):
        error = ValueError(f"{type(error).__name__}: {error}")
    if given.check and not isinstance(error, OSError):
        # Monitoring systems show the standard output only, unless it is what cannot be written.
        given.warning = given.critical = []
        ours = isinstance(error, pgreplkit.Error)
        return _checked(given, error if ours else pgreplkit.Error(str(error)))
    print(f"pgreplkit: {clean(str(error))}", file=sys.stderr)
    return UNKNOWN


def _run(given: Given) -> int:
    """Print the report; return the exit status."""
    result: Any = given.call(given)
    if given.check:
        # A check of a stream reads it to its end, or to its damage.
        return _checked(given, [*result] if isinstance(result, Iterator) else result)
    if isinstance(result, Iterator):
        for item in result:
            print(_json(item) if given.json else item, flush=True)
        return 0
    if given.json:
        print(_json(result))
    elif isinstance(result, dict):
        print("\n".join(f"{name:9} {value}" for name, value in result.items()))
    else:
        _print(str(pgreplkit.rows.Rows(result) if isinstance(result, list) else result))
    return 0


def _checked(given: Given, report: Any) -> int:
    limits = {"warning": _limits(given.warning), "critical": _limits(given.critical)}
    result = pgreplkit.checks.CheckResult.of(report, **limits)
    print(_json(result) if given.json else result)
    return result.exit_code


def _json(content: Any) -> str:
    import json

    # Lists are of reports, and reports can return their JSON.
    return json.dumps(content, default=lambda report: report.to_dict())


def _limits(given: list[str]) -> Any:
    """Return ``30``, or ``lag_bytes=1000 lag_seconds=30``, as limits."""
    if len(given) == 1 and "=" not in given[0]:
        return given[0]
    named = [[part.strip() for part in text.partition("=")] for text in given]
    if any(not limit for _, _, limit in named):
        raise ValueError("several thresholds need names, as in lag_bytes=1000")
    return {name: limit for name, _, limit in named} or None


def _print(text: str) -> None:
    """Print text, with colours if rich is installed and a person reads it."""
    if not sys.stdout.isatty() or find_spec("rich") is None:
        print(text)
        return
    from rich.console import Console
    from rich.text import Text

    coloured = Text(text)
    coloured.highlight_regex(r"(?m)^critical|!!.*|\bno answer\b|not streaming|not ready", "red")
    coloured.highlight_regex(r"(?m)^warning|\bpaused\b|\bdelayed\b", "yellow")
    coloured.highlight_regex(r"\bcaught up\b|\bprimary\b|^ready", "green")
    Console(highlight=False).print(coloured, soft_wrap=True)


def _lag(given: Given) -> object:
    import logging

    # The samples have what the watch logs.
    logging.getLogger("pgreplkit").addHandler(logging.NullHandler())
    if given.watch:
        if given.check:
            raise ValueError("--watch has no end to check; leave it or the check out")
        timeout = max(given.interval, 1.0)  # time enough to connect
        return iter(pgreplkit.Watch(given.conninfo, interval=given.interval, timeout=timeout))
    with pgreplkit.Watch(given.conninfo, timeout=10) as watch:  # as for a connection by default
        return next(watch)


def _slots(given: Given) -> object:
    with pgreplkit.connect(given.conninfo) as server:
        return [slot.state for slot in server.slots()]


def _retention(given: Given) -> object:
    with pgreplkit.connect(given.conninfo) as server:
        return server.wal_retention(window=given.window, disk_size=given.disk_size)


def _ready(given: Given) -> object:
    with pgreplkit.connect(given.conninfo) as server:
        if given.subscriber is None:
            return server.check_readiness()
        with pgreplkit.Primary.connect(given.subscriber) as subscriber:
            return subscriber.check_subscriber_readiness(server)


def _subscriptions(given: Given) -> object:
    with pgreplkit.Primary.connect(given.conninfo) as server:
        return [subscription.status() for subscription in server.subscriptions()]


def _drift(given: Given) -> object:
    connect = pgreplkit.connect
    with connect(given.publisher) as publisher, connect(given.subscriber) as subscriber:
        return pgreplkit.schema_drift(publisher, subscriber)


def _upgrade_check(given: Given) -> object:
    connect = pgreplkit.Primary.connect
    with connect(given.old) as old, connect(given.new) as new:
        return pgreplkit.upgrade.Upgrade(old, new, name="upgrade").check()


def _opened(given: Given) -> Any:
    start, stop_at = [text and _position(text) for text in (given.start, given.stop_at)]
    limits = {"start": start, "stop_at": stop_at, "timeline": given.timeline}
    return pgreplkit.wal.open_wal(given.path, **limits, strict=given.check)


def _plan_show(given: Given) -> object:
    from pathlib import Path

    from pgreplkit.host.journalfile import read_journal

    return read_journal(Path(given.journal))


def _lsn(given: Given) -> dict[str, object]:
    lsn = _position(given.value)
    parts = {"lsn": str(lsn), "bytes": int(lsn)}
    if given.timeline is None:
        return parts
    size = pgreplkit.SegmentSize.parse(given.segment_size)
    file = lsn.wal_file(timeline=given.timeline, segment_size=size)
    return {**parts, "wal_file": str(file), "offset": lsn.offset_in(size)}


def _position(text: str) -> LSN:
    is_number = text.isascii() and text.isdecimal()
    return pgreplkit.LSN(int(text) if is_number else text)


def _option(name: str, about: str, **settings: Any) -> Option:
    return name, {"help": about, **settings}


_SERVERS = _option("conninfo", CONNINFO, nargs="+")
_SERVER = _option("conninfo", CONNINFO, nargs="?", default="")
_WAL = [
    _option("path", "a WAL file, or a directory such as pg_wal or an archive"),
    _option("--start", "the first position"), _option("--stop-at", "the end position"),
    _option("--timeline", "the timeline to follow; by default the newest one", type=int),
]  # fmt: skip
_ALL = [
    _option("--json", "print JSON", action="store_true"),
    _option("--check", "print the result of a monitoring plugin", action="store_true"),
    _option("--warning", "check with a threshold such as 30, 10:20 or lag_bytes=1000",
            action="append", default=[], metavar="RANGE"),
    _option("--critical", "the same for CRITICAL", action="append", default=[], metavar="RANGE"),
    _option("--debug", "print the traceback of an error", action="store_true"),
]  # fmt: skip
_GROUPS = {"upgrade": "major upgrades", "wal": "the records in WAL files", "plan": "operations"}
_COMMANDS: list[tuple[str, Callable[[Given], object], str, list[Option]]] = [
    ("tree", lambda given: pgreplkit.Cluster.discover(given.conninfo).topology,
     "the upstream of each server", [_SERVERS]),
    ("lag", _lag, "role, position and lag of each server",
     [_SERVERS, _option("--watch", "repeat until interrupted", action="store_true"),
      _option("--interval", "seconds between two samples", type=float, default=1.0)]),
    ("slots", _slots, "the replication slots of a server", [_SERVER]),
    ("retention", _retention, "the holders of WAL on a server",
     [_SERVER, _option("--window", "seconds to measure the WAL rate", type=float),
      _option("--disk-size", "bytes that pg_wal may reach", type=int)]),
    ("ready", _ready, "whether a server is ready for replication",
     [_SERVER, _option("--subscriber", "a server that is to subscribe to it", metavar="CONNINFO")]),
    ("subscriptions", _subscriptions, "the subscriptions of a database", [_SERVER]),
    ("drift", _drift, "differences between the tables of two servers",
     [_option("publisher", CONNINFO), _option("subscriber", CONNINFO)]),
    ("upgrade check", _upgrade_check, "the checks before an upgrade of a database",
     [_option("old", CONNINFO), _option("new", CONNINFO)]),
    ("wal stats", lambda given: _opened(given).stats(by=given.by), "the volume by kind of record",
     [*_WAL, _option("--by", "kind, relation, database, xid or second", default="kind")]),
    ("wal records", lambda given: iter(_opened(given)), "all records", _WAL),
    ("wal commits", lambda given: _opened(given).commits(), "the commits", _WAL),
    ("archive", lambda given: pgreplkit.wal.scan_archive(given.path, verify=given.verify),
     "what a WAL archive contains, and lacks", [_option("path", "the directory"),
      _option("--verify", "read and verify all records", action="store_true")]),
    ("lsn", _lsn, "a position as number, WAL file and offset",
     [_option("value", "such as 16/B374D848, or a number of bytes"),
      _option("--timeline", "report the WAL file on this timeline too", type=int),
      _option("--segment-size", "the size of WAL files", default="16MB")]),
    ("plan show", _plan_show, "how far an operation is, from its journal",
     [_option("journal", "the journal file")]),
]  # fmt: skip


def _parser(only: str = "") -> argparse.ArgumentParser:
    """Return the parser; if ``only`` names a command, without the others, which cost time."""
    about = "Report on PostgreSQL replication. Nothing is changed on any server."
    parser = _Parser(prog="pgreplkit", description=about)
    parser.add_argument("--version", action="version", version=f"%(prog)s {pgreplkit.__version__}")
    groups = {"": parser.add_subparsers(metavar="COMMAND", required=True)}
    for name, run, about, options in [c for c in _COMMANDS if c[0].split()[0] == only] or _COMMANDS:
        group, _, last = name.rpartition(" ")
        if group not in groups:
            commands = groups[""].add_parser(group, help=_GROUPS[group])
            groups[group] = commands.add_subparsers(required=True)
        command = groups[group].add_parser(last, help=about, description=f"Report {about}.")
        command.set_defaults(call=run)
        for option, settings in [*options, *_ALL]:
            command.add_argument(option, **settings)
    return parser


def _complete(parser: argparse.ArgumentParser) -> None:
    # Only a shell that completes sets it; otherwise the import would cost too much.
    if "_ARGCOMPLETE" in os.environ and find_spec("argcomplete"):
        import argcomplete

        argcomplete.autocomplete(parser)
