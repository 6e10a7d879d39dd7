"""The command ``python -m pgreplkit.apply``: an applier as a process for a supervisor."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from pgreplkit._sync.logical.applier import Applier
from pgreplkit._text import counted, one_line
from pgreplkit.apply.configuration import parse_configuration
from pgreplkit.errors import Error
from pgreplkit.plans.streams.retries import may_succeed_later
from pgreplkit.supervised import (
    DEFECT,
    DONE,
    FAILED,
    MISCONFIGURED,
    STUCK,
    command_parser,
    log_to_stderr,
    read_configuration,
    stop_on_signals,
)

_DESCRIPTION = """Apply the changes of one server's publications to another server.

SIGTERM and SIGINT end it after the current transaction, or roll it back after 5 seconds. Exit
status: 0 it was stopped; 1 a server could not be reached, or another process has the applier, so
that a later start may succeed; 2 the configuration is wrong; 3 a change cannot be applied, a server
refuses the role, its password or the database, a privilege is missing, the slot is lost, or --check
has found a problem: someone has to look at it; 70 an error of the program itself, to be
reported."""
_log = logging.getLogger("pgreplkit.apply")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = command_parser("python -m pgreplkit.apply", _DESCRIPTION, "both servers")
    parser.add_argument(
        "--setup-sql", metavar="ROLE", help="print what an administrator runs for a role, and exit"
    )
    given = parser.parse_args(arguments)
    log_to_stderr()
    try:
        configuration = parse_configuration(read_configuration(given.config))
        applier = Applier(
            configuration.publisher,
            configuration.subscriber,
            configuration.name,
            **configuration.options,
        )
    except (ValueError, TypeError, Error) as error:
        _log.error("%s", one_line(error))
        return MISCONFIGURED
    try:
        # An empty name, as of a variable that is not set, must not run the applier.
        if given.setup_sql is not None:
            print(applier.setup_sql(given.setup_sql))
            return DONE
        if given.check:
            return _check(applier)
        return _run(applier)
    except Error as error:
        _log.error("%s", one_line(error))
        return FAILED if may_succeed_later(error) else STUCK
    except Exception:
        # Python's own status would be 1, for which a supervisor starts the process again.
        _log.exception("could not apply changes: an error of the program itself")
        return DEFECT


def _check(applier: Applier) -> int:
    readiness = applier.check()
    print(readiness)
    return DONE if readiness.is_ready else STUCK


def _run(applier: Applier) -> int:
    stop_on_signals(applier.stop)
    _log.info("the applier %s begins", applier.name)
    report = applier.run()
    _log.info(
        "the applier %s was stopped at %s, after %s and %s",
        applier.name,
        report.position,
        counted(report.copied_rows, "copied row"),
        counted(report.transactions, "transaction"),
    )
    return DONE
