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
from pgreplkit.errors import ApplierActive, ApplyError, Error
from pgreplkit.values.finding import Severity

DONE, FAILED, MISCONFIGURED, STUCK = 0, 1, 2, 3
_DESCRIPTION = """Apply the changes of one server's publications to another server.

SIGTERM and SIGINT end it after the current transaction. Exit status: 0 it was stopped; 1 a server
could not be reached, so that a later start may succeed; 2 the configuration is wrong; 3 a change
cannot be applied, and someone has to look at it."""
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
    except ApplierActive as error:
        _log.error("%s", error)
        return FAILED
    except ApplyError as error:
        _log.error("%s", error)
        return STUCK
    except Error as error:
        _log.error("%s", error)
        return FAILED


def _check(applier: Applier) -> int:
    readiness = applier.check()
    for finding in readiness.findings:
        print(f"{finding.severity.value:8} {finding.check}: {finding.found}")
        if finding.severity > Severity.INFO:
            print(f"         needed: {finding.needed}")
            print(f"         remedy: {finding.remedy}")
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
