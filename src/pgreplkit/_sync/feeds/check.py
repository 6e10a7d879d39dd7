# Generated from pgreplkit/_async/feeds/check.py by `nox -s sync`. Do not edit.
"""The facts that a feed's readiness is decided by."""

from __future__ import annotations

from pgreplkit._sync._io import Runner
from pgreplkit._sync.logical.publication import read_identities
from pgreplkit._sync.logical.snapshot import published_in
from pgreplkit._sync.server.settings import read_settings
from pgreplkit._sync.wire.link import Link
from pgreplkit.catalog.logical.applying import PUBLISHER
from pgreplkit.catalog.logical.feeds import START
from pgreplkit.errors import FeedError
from pgreplkit.feeds.settings import FeedSettings
from pgreplkit.plans.logical.feedreadiness import FeedFacts, feed_readiness
from pgreplkit.plans.server.readiness import Readiness


def check_feed(source: Link, settings: FeedSettings) -> Readiness:
    """Return the findings about the source and the sink."""
    operation = f"check the feed {settings.slot!r}"
    there = source.one(operation, PUBLISHER, [settings.slot])
    published = published_in(source, operation, settings.publications)
    tables = [one.table for one in published]
    slot = source.one(operation, START, [settings.slot])
    if slot["active_pid"] is None:
        refusal, remedy = _refusal(settings)
    else:
        # To open the sink would take it away from the feed that runs.
        refusal = f"it was not asked: process {slot['active_pid']} uses the slot"
        remedy = "stop the feed that runs, to check its sink"
    return feed_readiness(
        FeedFacts(
            settings=read_settings(source),
            role=there["role"],
            may_replicate=there["may_replicate"],
            slots=there["slots"],
            has_slot=there["has_slot"],
            tables=tables,
            identities=read_identities(source, tables),
            sink=repr(settings.sink),
            refusal=refusal,
            remedy=remedy,
        )
    )


def _refusal(settings: FeedSettings) -> tuple[str, str]:
    """Return why the sink cannot be used, and the remedy; empty texts if it can."""
    runner = Runner()
    try:
        runner.run(settings.sink.open(settings.slot))
        # Opening is the check: it connects, and reads the settings of the stream or topics.
        runner.run(settings.sink.close())
    except FeedError as error:
        return error.found, error.remedy
    finally:
        runner.close()
    return "", ""
