"""The command ``python -m pgreplkit.feeds``: feeds as a process for a supervisor."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

from pgreplkit._async.feeds.feed import AsyncFeed
from pgreplkit._async.feeds.fleet import AsyncFleet
from pgreplkit._text import one_line
from pgreplkit.errors import Error
from pgreplkit.feeds.configuration import FeedConfiguration, parse_configuration
from pgreplkit.feeds.sink import Sink
from pgreplkit.plans.streams.retries import may_succeed_later
from pgreplkit.sinks.jetstream import JetStream
from pgreplkit.sinks.kafka import Kafka
from pgreplkit.sinks.redisstreams import RedisStreams
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
from pgreplkit.values.configured import called

_SINKS: Mapping[str, Callable[..., Sink]] = {
    "jetstream": JetStream,
    "kafka": Kafka,
    "redis": RedisStreams,
}
_DESCRIPTION = """Send the changes of slots to engines that store and distribute messages.

SIGTERM and SIGINT end it after the current batches. A feed that fails does not stop the others.
Exit status: 0 it was stopped, or the rows of added tables are sent; 1 --check or --add-tables could
not reach a server, or the feed runs; 2 the configuration is wrong; 3 a feed has failed, or --check
has found a problem, and someone has to look at it; 70 an error of the program itself, to be
reported."""
_log = logging.getLogger("pgreplkit.feeds")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = command_parser("python -m pgreplkit.feeds", _DESCRIPTION, "all feeds")
    parser.add_argument(
        "--add-tables",
        nargs="+",
        metavar=("FEED", "TABLE"),
        help="send the existing rows of tables that were added to a feed's publications, and exit",
    )
    given = parser.parse_args(arguments)
    log_to_stderr()
    try:
        configured = parse_configuration(read_configuration(given.config))
        feeds = {name: _feed(name, one) for name, one in configured.items()}
        added, *tables = given.add_tables or [""]
        if added and (added not in feeds or not tables):
            known = ", ".join(feeds)
            raise ValueError(f"--add-tables takes a feed and its tables; the feeds are {known}")
    except (ValueError, TypeError, Error) as error:
        _log.error("%s", one_line(error))
        return MISCONFIGURED
    try:
        if added:
            return asyncio.run(_add(feeds[added], tables))
        return asyncio.run(_check(feeds) if given.check else _run(AsyncFleet(feeds)))
    except Exception:
        # Python's own status would be 1, for which a supervisor starts the process again.
        _log.exception("could not run the feeds: an error of the program itself")
        return DEFECT


def _feed(name: str, given: FeedConfiguration) -> AsyncFeed:
    key = f"feeds.{name}"
    sink = called(_SINKS[given.engine], f"{key}.sink", given.sink)
    arguments = {"source": given.source, "slot": given.slot, "sink": sink, **given.options}
    return called(AsyncFeed, key, arguments)


async def _check(feeds: dict[str, AsyncFeed]) -> int:
    """Check each feed; return the status of the worst."""
    worst = DONE
    for name, feed in feeds.items():
        try:
            readiness = await feed.check()
        except Error as error:
            _log.error("the feed %s: %s", name, one_line(error))
            worst = max(worst, FAILED if may_succeed_later(error) else STUCK)
        else:
            print(f"{name}:\n{readiness}")
            worst = max(worst, DONE if readiness.is_ready else STUCK)
    return worst


async def _add(feed: AsyncFeed, tables: Sequence[str]) -> int:
    stop_on_signals(feed.stop)
    try:
        report = await feed.add_tables(tables)
    except Error as error:
        _log.error("the feed %s: %s", feed.slot, one_line(error))
        return FAILED if may_succeed_later(error) else STUCK
    print(report)
    return DONE


async def _run(fleet: AsyncFleet) -> int:
    stop_on_signals(fleet.stop)
    _log.info("%d feeds begin", len(fleet.names))
    for row in await fleet.run():
        _log.info("the feed %s is %s at %s", row.name, row.state.value, row.position)
    errors = [*fleet.errors.values()]
    if all(isinstance(error, Error) for error in errors):
        return STUCK if errors else DONE
    return DEFECT
