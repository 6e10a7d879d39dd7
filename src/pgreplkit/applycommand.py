"""The command ``python -m pgreplkit.apply``: an applier as a process for a supervisor."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from pgreplkit._sync.logical.applier import Applier
from pgreplkit.apply.configuration import parse_configuration
from pgreplkit.apply.failures import passes
from pgreplkit.errors import Error

DONE, FAILED, MISCONFIGURED, STUCK, DEFECT = 0, 1, 2, 3, 70
_DESCRIPTION = """Apply the changes of one server's publications to another server.

SIGTERM and SIGINT end it after the current transaction. Exit status: 0 it was stopped; 1 a server
could not be reached, or another process has the applier, so that a later start may succeed; 2 the
configuration is wrong; 3 a change cannot be applied, a privilege is missing, the slot is lost, or
--check has found a problem: someone has to look at it; 70 an error of the program itself, to be
reported."""
_log = logging.getLogger("pgreplkit")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m pgreplkit.apply",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("config", help="a TOML file")
    parser.add_argument("--check", action="store_true", help="check both servers, and exit")
    parser.add_argument(
        "--setup-sql", metavar="ROLE", help="print what an administrator runs for a role, and exit"
    )
    given = parser.parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )
    try:
        configuration = parse_configuration(Path(given.config).read_text("utf-8"))
        applier = Applier(
            configuration.publisher,
            configuration.subscriber,
            configuration.name,
            **configuration.options,
        )
    except UnicodeDecodeError as error:
        _log.error("could not read the configuration %s: it is not UTF-8: %s", given.config, error)
        return MISCONFIGURED
    except OSError as error:
        _log.error("could not read the configuration %s: %s", given.config, error.strerror)
        return MISCONFIGURED
    except (ValueError, TypeError, Error) as error:
        _log.error("%s", error)
        return MISCONFIGURED
    try:
        if given.setup_sql:
            print(applier.setup_sql(given.setup_sql))
            return DONE
        if given.check:
            return _check(applier)
        return _run(applier)
    except Error as error:
        _log.error("%s", error)
        return FAILED if passes(error) else STUCK
    except Exception:
        # Python's own status would be 1, for which a supervisor starts the process again.
        _log.exception("could not apply changes: an error of the program itself")
        return DEFECT


def _check(applier: Applier) -> int:
    readiness = applier.check()
    print(readiness)
    return DONE if readiness.is_ready else STUCK


def _run(applier: Applier) -> int:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: applier.stop())
    _log.info("the applier %s begins", applier.name)
    report = applier.run()
    _log.info(
        "the applier %s was stopped at %s after %d transactions",
        applier.name,
        report.position,
        report.transactions,
    )
    return DONE
