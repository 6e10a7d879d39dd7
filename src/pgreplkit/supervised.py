"""The common part of commands for a supervisor: exit statuses, arguments and log."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Callable
from pathlib import Path

DONE, FAILED, MISCONFIGURED, STUCK, DEFECT = 0, 1, 2, 3, 70
"""Exit statuses. A supervisor starts the process again after FAILED only: after the others, someone
has to look. DEFECT is EX_SOFTWARE of sysexits.h."""


def command_parser(program: str, description: str, checked: str) -> argparse.ArgumentParser:
    """Return the parser of a command whose ``--check`` checks something."""
    parser = argparse.ArgumentParser(
        prog=program, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="a TOML file")
    parser.add_argument("--check", action="store_true", help=f"check {checked}, and exit")
    return parser


def log_to_stderr() -> None:
    """Write the log to the standard error, which a supervisor keeps."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )


def read_configuration(path: str) -> str:
    """Return the text of a configuration file.

    Raises: ValueError.
    """
    try:
        return Path(path).read_text("utf-8")
    except UnicodeDecodeError as error:
        found = f"it is not UTF-8: {error}"
    except OSError as error:
        found = str(error.strerror)
    raise ValueError(f"could not read the configuration {path}: {found}")


def stop_on_signals(stop: Callable[[], None]) -> None:
    """Call ``stop`` on SIGTERM, which supervisors send, and on SIGINT."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop())
