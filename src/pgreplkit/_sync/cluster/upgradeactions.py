# Generated from pgreplkit/_async/cluster/upgradeactions.py by `nox -s sync`. Do not edit.
"""The actions of each step of a major upgrade, and how to undo them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from logging import getLogger
from uuid import uuid4

import attrs
from psycopg.sql import SQL, Identifier, Literal

from pgreplkit._sync._io import sleep
from pgreplkit._sync.cluster.hooks import call_hook
from pgreplkit._sync.cluster.upgradefences import read_unfenced
from pgreplkit._sync.cluster.upgradegroups import read_missed, read_tables
from pgreplkit._sync.cluster.upgraderows import truncated_since
from pgreplkit._sync.cluster.upgradeschema import keep_schema, read_fingerprint
from pgreplkit._sync.logical.drift import copy_schema, schema_drift
from pgreplkit._sync.logical.fence import lift, make_fence, permit, read_fence_function
from pgreplkit._sync.logical.publication import Publication, make_publication
from pgreplkit._sync.logical.sequences import SequencePlan
from pgreplkit._sync.logical.subscribing import MEANING
from pgreplkit._sync.logical.subscription import Subscription
from pgreplkit._sync.primary import Primary
from pgreplkit._sync.server.positions import write_marker
from pgreplkit._sync.server.slot import Slot
from pgreplkit.catalog.logical.fence import LOCK_TIMEOUT
from pgreplkit.catalog.logical.subscription import (
    ADVANCE_ORIGIN,
    ALTER_SUBSCRIPTION,
    DISABLE,
    END_WORKERS,
)
from pgreplkit.catalog.server.positions import IS_ASYNCHRONOUS
from pgreplkit.driver.backoff import Backoff
from pgreplkit.driver.statements import publication_options
from pgreplkit.errors import (
    AlreadyExists,
    ControlFailed,
    PublicationNotFound,
    PublisherUnreachable,
    ServerError,
    SlotNotFound,
    SubscriptionNotFound,
    SubscriptionStuck,
    WaitTimeout,
)
from pgreplkit.plans.cluster import upgradesteps as steps
from pgreplkit.plans.cluster.journal import LostPrimary
from pgreplkit.plans.cluster.steps import Step
from pgreplkit.plans.cluster.upgrade import NEW, OLD
from pgreplkit.plans.cluster.upgradecopy import CopyLook
from pgreplkit.plans.cluster.upgradereplication import published_operations
from pgreplkit.plans.cluster.upgradeschema import uncopied
from pgreplkit.plans.cluster.upgradeslots import is_own
from pgreplkit.plans.logical.drift import DriftKind, SchemaSection
from pgreplkit.plans.logical.subscription import SubscriptionOptions
from pgreplkit.values.finding import Severity
from pgreplkit.values.lsn import LSN
from pgreplkit.values.milliseconds import timeout_milliseconds
from pgreplkit.values.tablename import TableName

_LOGGER = getLogger("pgreplkit.plans")

_WHILE_FENCED = (
    steps.SetSequences,
    steps.StopSubscriptions,
    steps.MakeBackSlots,
    steps.ArmForward,
)
_SEEN_FOR = 1.0
"""Seconds after which a fence is looked at again: a step may wait for locks and transactions."""
_LOOK = 20.0
"""Seconds after which the errors of the copies are counted: the server retries a copy every 5."""
_COPY = 7 * 24 * 3600.0
"""Seconds for a copy: a week, after which something else is wrong."""


@attrs.frozen
class UpgradeActor:
    """Performs the steps of an upgrade on its two servers."""

    old: Primary
    new: Primary
    replication: Mapping[str, str] = attrs.field(repr=False)
    redirect: Callable[[str], object] | None
    bindir: str | os.PathLike[str] | None
    owners: bool
    timeout: float
    files: Mapping[TableName, int] = attrs.field(factory=dict)
    """The files of the published tables at the checks, if this process has run them."""
    looks: dict[str, tuple[float, Sequence[str]]] = attrs.field(factory=dict)
    """By server, when its fence was seen last, and the publications whose tables it covers."""
    asynchronous: dict[str, bool] = attrs.field(factory=dict)
    """By server, whether the commits of the role are asynchronous there."""

    def _server(self, node: str) -> Primary:
        return self.old if node == OLD else self.new

    def _other(self, node: str) -> tuple[str, Primary]:
        return (NEW, self.new) if node == OLD else (OLD, self.old)

    def look(self, step: Step) -> Step:
        """Return the step with the identity of its fence, by which a stale journal is known."""
        if not isinstance(step, steps.FenceTables) or step.identity:
            return step
        return attrs.evolve(step, identity=uuid4().hex)

    def perform(self, step: Step) -> datetime | None:
        """Perform one step, which may be done in part or completely already.

        Return when a fence began to refuse writes.
        """
        refused_at = self._perform(step)
        # Of those the last one comes before the other server accepts writes.
        if isinstance(step, _WHILE_FENCED):
            self._look_again()
        # That step changes nothing on a server.
        if not isinstance(step, steps.Redirect):
            self._flush(step.node)
        return refused_at

    def _perform(self, step: Step) -> datetime | None:
        server = self._server(step.node)
        _, other = self._other(step.node)
        match step:
            case steps.CopyTables():
                self._copy_schema(SchemaSection.PRE_DATA, SchemaSection.KEYS)
            case steps.CopyIndexes():
                self._copy_schema(SchemaSection.REST)
            case steps.FenceTables():
                fence = make_fence(
                    server._link,
                    [TableName.parse(table) for table in step.tables],
                    name=step.fence,
                    hint=step.hint,
                    timeout=self.timeout,
                    identity=step.identity,
                )
                return fence.state.since
            case steps.OpenTables():
                permit(server._link, step.fence)
            case steps.RemoveFence():
                lift(server._link, step.fence, self.timeout)
            case steps.PublishTables():
                self._publish(step)
            case steps.Subscribe():
                self._subscribe(step.node, step.publication, SubscriptionOptions())
            case steps.SubscribeBack():
                self._subscribe(
                    step.node,
                    step.publication,
                    # The slot was created before anyone could write.
                    SubscriptionOptions(
                        copy_data=False, create_slot=False, slot_name=step.publication
                    ),
                )
            case steps.KeepSchema():
                keep_schema(self.old, server, step)
            case steps.WaitCopied():
                self._wait_copied(server, other, step.subscriptions)
            case steps.Analyze():
                server._link.run_alone(
                    "collect statistics", SQL("ANALYZE").format(), timeout=_COPY, grant="the owner"
                )
            case steps.WaitApplied():
                self._wait_applied(server, other, step)
            case steps.SetSequences():
                # The plan reads both sides when it runs.
                plan = SequencePlan(other, server, (), margin=0, names=None)
                plan.run(timeout=self.timeout)
            case _:
                self._perform_for_each(step)
        return None

    def _publish(self, step: steps.PublishTables) -> None:
        server = self._server(step.node)
        published = published_operations(truncates=self.old._link.has("publication.truncate"))
        try:
            server.create_publication(step.publication, tables=step.tables, publish=published)
        except AlreadyExists:
            # The step may be repeated after a crash, and tables may have been added since.
            publication = server.publication(step.publication)
            if step.node == OLD:
                publication.set_tables(*step.tables, timeout=self.timeout)
                return
            # No one follows the new server yet: someone may have created it with other options.
            with server._link.transaction("publish the tables", timeout=self.timeout) as link:
                Publication(link, publication.state).drop()
                make_publication(
                    link,
                    step.publication,
                    tables=step.tables,
                    options=publication_options(link.require, published, None, None),
                    timeout=self.timeout,
                )

    def _perform_for_each(self, step: Step) -> None:
        """Perform a step that takes one call for each object."""
        server = self._server(step.node)
        match step:
            case steps.StopSubscriptions():
                self._stop(server, step.subscriptions)
            case steps.StartSubscriptions():
                for name in step.subscriptions:
                    (server.subscription(name)).enable(timeout=self.timeout)
            case steps.DropSubscriptions():
                self._drop_subscriptions(step.node, step.subscriptions)
            case steps.DropPublications():
                for name in step.publications:
                    with suppress(PublicationNotFound):
                        (server.publication(name)).drop()
            case steps.MakeBackSlots():
                make_slots(server, step.slots, self.timeout)
            case steps.ArmForward():
                for name in step.subscriptions:
                    self._arm(server.subscription(name))
            case steps.Redirect():
                self._redirect(step.node)
            case _:
                raise TypeError(f"unknown kind of step: {type(step).__name__}")

    def take_back(self, step: Step) -> None:
        """Undo one step, which may be done completely, in part or not at all."""
        self._take_back(step)
        self._flush(step.node)

    def _flush(self, node: str) -> None:
        """Flush the commits of a step, if those of the role are asynchronous.

        Otherwise a crash of the server could open a fence again, while the other one is open.
        """
        link = self._server(node)._link
        # Read once: clients wait meanwhile.
        if node not in self.asynchronous:
            operation = f"flush the WAL of the {node} server"
            self.asynchronous[node] = (link.one(operation, IS_ASYNCHRONOUS))["is_so"]
        if self.asynchronous[node]:
            write_marker(link)

    def _take_back(self, step: Step) -> None:
        server = self._server(step.node)
        match step:
            case steps.FenceTables():
                # That of another run, such as a preparation that was given up, is not ours to lift.
                there = read_fence_function(server._link, step.fence)
                if there.identity == step.identity:
                    lift(server._link, step.fence, self.timeout)
            case steps.PublishTables():
                with suppress(PublicationNotFound):
                    (server.publication(step.publication)).drop()
            case steps.Subscribe():
                self._drop_subscriptions(step.node, [step.publication])
            case steps.StopSubscriptions():
                for subscription in _existing(server, step):
                    subscription.enable(timeout=self.timeout)
            case steps.StartSubscriptions():
                for subscription in _existing(server, step):
                    subscription.disable(timeout=self.timeout)
            case steps.MakeBackSlots():
                drop_slots(server, step.slots)
            case _:
                raise TypeError(f"a step that cannot be undone: {type(step).__name__}")

    def missing_evidence(self, lost: LostPrimary) -> str:
        """Return the missing evidence that a primary is lost: an upgrade needs none."""
        return ""

    def _copy_schema(self, *sections: SchemaSection) -> None:
        try:
            self._copy_sections(sections)
        except ControlFailed:
            # An interrupted attempt may have restored a section, all of it or nothing.
            for number, section in enumerate(sections):
                if not self._has_section(section):
                    self._copy_sections(sections[number:])
                    break

    def _copy_sections(self, sections: Sequence[SchemaSection]) -> None:
        copy_schema(
            self.old,
            self.new,
            sections,
            owners=self.owners,
            bindir=self.bindir,
            # The indexes of a large database take hours.
            timeout=_COPY,
        )

    def _has_section(self, section: SchemaSection) -> bool:
        """Return whether the new server has all objects of a section of the old one's schema."""
        here = read_fingerprint(self.old._link)
        there = read_fingerprint(self.new._link)
        if uncopied(section, here, there, privileges=self.owners):
            return False
        if section is SchemaSection.PRE_DATA:
            return True
        tables = [one.table for one in read_tables(self.old._link) if one.kind in "rp"]
        drift = schema_drift(self.old, self.new, tables)
        missing = [*drift[DriftKind.INDEX_MISSING], *drift[DriftKind.CONSTRAINT_MISSING]]
        if section is SchemaSection.KEYS:
            # The others follow later.
            missing = [one for one in missing if one.severity >= Severity.CRITICAL]
        return not missing

    def _wait_copied(self, server: Primary, publisher: Primary, names: Sequence[str]) -> None:
        """Wait until the subscriptions have copied their tables, or one of them cannot.

        The server retries a copy that fails without end.
        """
        backoff, looks = Backoff(_COPY), {name: CopyLook() for name in names}
        while looks:
            for name, before in [*looks.items()]:
                subscription = server.subscription(name)
                limit = min(_LOOK / len(looks), backoff.left)
                look = _look_at(subscription, publisher, before, limit)
                if look is None:
                    del looks[name]
                else:
                    looks[name] = look

    def _insist_on_all(self, step: steps.WaitApplied) -> None:
        """Refuse to continue without tables that are not replicated, or that accept writes."""
        node, other = self._other(step.node)
        # As in the checks of a rollback, the old server need not have an empty table.
        with_rows = step.node == OLD
        found, unfenced = read_missed(other, step.subscriptions, with_rows=with_rows)
        _insist_on_none(node, unfenced)
        self.looks[node] = time.monotonic(), step.subscriptions
        # A row that someone has written here since the checks is on this server only.
        _insist_on_none(step.node, read_unfenced(self._server(step.node)._link, step.fenced))
        self.looks[step.node] = time.monotonic(), step.fenced
        if late := {str(table) for table in found} - {*step.left_out}:
            raise ServerError(
                f"replicate all rows of the {node} server",
                f"{', '.join(sorted(late))}: created after the checks, and not replicated",
                remedy=f"undo() the plan, create them on the {step.node} server too, add them to a"
                " publication, refresh its subscription, and plan again; to leave them out, run the"
                " new plan with force=True",
            )

    def _look_again(self) -> None:
        """Refuse to continue if someone has lifted a fence while the steps took long."""
        for node, (seen, publications) in self.looks.items():
            # A round trip for each step would keep the clients from writing for longer.
            if time.monotonic() - seen > _SEEN_FOR:
                _insist_on_none(node, read_unfenced(self._server(node)._link, publications))
                self.looks[node] = time.monotonic(), publications

    def _wait_applied(self, server: Primary, publisher: Primary, step: steps.WaitApplied) -> None:
        names = step.subscriptions
        # The publisher is fenced, so that nothing comes after the marker.
        lsn = publisher.write_marker()
        # While the marker is on its way.
        self._insist_on_all(step)
        for name in names:
            subscription = server.subscription(name)
            subscription.wait_for_catchup(lsn, timeout=self.timeout, publisher=publisher)
        # Each publication has the name of its subscription.
        if truncated := truncated_since(publisher, server, names, self.files):
            raise ServerError(
                "have all changes applied",
                f"TRUNCATE of {', '.join(truncated)} was not replicated: 10 neither sends nor"
                " applies it",
                remedy="undo() the plan, remove the rows that compare() finds only on the"
                " subscriber, and plan it again",
            )

    def _subscribe(self, node: str, name: str, options: SubscriptionOptions) -> None:
        server, (other, publisher) = self._server(node), self._other(node)
        # It exists if an attempt was killed after its last statement.
        try:
            server.subscription(name)
        except SubscriptionNotFound:
            if options.create_slot is not False:
                # An attempt that was killed may have created the slot only.
                drop_slots(publisher, [name])
            server.create_subscription(
                name, self.replication.get(other, publisher), [name], options, timeout=self.timeout
            )
        try:
            publisher.slot(name)
        except SlotNotFound:
            # From an address that only the server reaches, it has copied no rows, or others.
            (server.subscription(name)).drop(timeout=self.timeout)
            raise ServerError(
                f"subscribe to {name!r} of the {other} server",
                f"the {other} server has no slot {name!r}: the {node} one has reached another"
                " server or database",
                remedy=f"pass the right connection string in replication={{{other!r}: …}}",
            ) from None

    def _drop_subscriptions(self, node: str, names: Iterable[str]) -> None:
        server, (_, publisher) = self._server(node), self._other(node)
        database = publisher.connection.info.dbname
        foreign = {one.name for one in publisher.slots() if not is_own(one.state, database)}
        for name in names:
            # DROP SUBSCRIPTION drops its slot too, unless the subscription was never created.
            slots = [name]
            with suppress(SubscriptionNotFound):
                subscription = server.subscription(name)
                try:
                    # It would also drop a slot of others, such as that of a standby.
                    is_foreign = subscription.state.subslotname in foreign
                    subscription.drop(publisher_gone=is_foreign, timeout=self.timeout)
                except PublisherUnreachable:
                    # As after a failover of the publisher: this process reaches it elsewhere.
                    dropped = subscription.drop(publisher_gone=True, timeout=self.timeout)
                    slots = [one.name for one in dropped.leftovers]
            drop_slots(publisher, slots)

    def _arm(self, subscription: Subscription) -> None:
        """Move the slot of a disabled subscription, and its origin, to the publisher's position.

        All that is skipped came from the subscriber's own side.
        """
        old, name = self.old, subscription.name
        slot = _own_slot(old, name)
        if slot is not None and not slot.state.is_lost and old._link.has("slot.advance"):
            reached = slot.advance(old.write_marker())
        else:
            # A new slot skips as much: no one can write. Before 11 there is no other way.
            drop_slots(old, [name])
            slot = old.create_logical_slot(
                name, failover=bool(subscription.state.subfailover), timeout=self.timeout
            )
            reached = slot.state.confirmed_flush_lsn or old.write_marker()
        move_origin(self.new, subscription, reached)

    def _stop(self, server: Primary, names: Sequence[str]) -> None:
        """Disable subscriptions, and end their workers: before 16 they notice it a second later.

        No one can write at this time, so that one round trip serves all subscriptions.
        """
        operation, link = "disable the subscriptions", server._link
        limit = SQL(LOCK_TIMEOUT).format(Literal(f"{timeout_milliseconds(self.timeout)}ms"))
        disable = [SQL(ALTER_SUBSCRIPTION).format(Identifier(name), SQL(DISABLE)) for name in names]
        link.run(operation, SQL(";\n").join([limit, *disable]), meaning=MEANING)
        # From a millisecond on: while this waits, no one can write.
        backoff = Backoff(self.timeout, first=0.001)
        while workers := link.all("end the apply workers", END_WORKERS, [[*names]]):
            if backoff.is_over:
                pids = ", ".join(str(worker["pid"]) for worker in workers)
                raise WaitTimeout(
                    f"could not {operation}: timed out after {backoff.limit:g} s waiting for their"
                    f" workers: process {pids} is still running"
                )
            sleep(backoff.next_pause())

    def _redirect(self, node: str) -> None:
        if self.redirect is not None:
            operation = f"move the clients to the {node} server"
            call_hook(operation, "redirect", self.redirect, node, self.timeout)


def _insist_on_none(node: str, unfenced: Sequence[TableName]) -> None:
    if unfenced:
        raise ServerError(
            f"keep the {node} server fenced",
            f"it accepts writes to {', '.join(map(str, unfenced))}: the trigger of its fence is"
            " missing or disabled",
            remedy="undo() the plan, and plan it again",
        )


def _existing(
    server: Primary, step: steps.StopSubscriptions | steps.StartSubscriptions
) -> list[Subscription]:
    """Return the subscriptions of a step that is undone, without those that someone has dropped."""
    found = []
    for name in step.subscriptions:
        try:
            found.append(server.subscription(name))
        except SubscriptionNotFound:
            # The fences must be lifted in any case.
            _LOGGER.warning(
                "undo: the %s server has no subscription %r any longer: it is left out, and its"
                " tables are not replicated",
                step.node,
                name,
            )
    return found


def _look_at(
    subscription: Subscription, publisher: Primary, before: CopyLook, limit: float
) -> CopyLook | None:
    """Return what a subscription shows after some seconds; None if its tables are copied.

    Raises: SubscriptionStuck if waiting does not help.
    """
    try:
        subscription.wait_for_sync(timeout=limit, publisher=publisher)
    except SubscriptionStuck as error:
        look = before.next(subscription.status(), error.reasons)
        if look.is_hopeless or not limit:
            raise
        return look
    return None


def move_origin(subscriber: Primary, subscription: Subscription, lsn: LSN) -> None:
    """Set the position from which a disabled subscription continues."""
    subscriber._link.one(
        f"move the origin of {subscription.name!r}",
        ADVANCE_ORIGIN,
        [f"pg_{subscription.state.oid}", lsn],
        grant="SUPERUSER",
    )


def make_slots(server: Primary, names: Iterable[str], timeout: float) -> None:
    """Create the slots that do not exist.

    Raises: AlreadyExists for a slot of others, such as another database: all databases of a server
    share the names.
    """
    for name in names:
        try:
            server.create_logical_slot(name, timeout=timeout)
        except AlreadyExists:
            if _own_slot(server, name) is None:
                raise


def drop_slots(server: Primary, names: Iterable[str]) -> None:
    """Drop the slots that exist, without those of others."""
    for name in names:
        with suppress(SlotNotFound):
            if (slot := _own_slot(server, name)) is not None:
                slot.drop()


def _own_slot(server: Primary, name: str) -> Slot | None:
    """Return a slot of the upgrade; None if it does not exist, or is one of others."""
    with suppress(SlotNotFound):
        slot = server.slot(name)
        if is_own(slot.state, server.connection.info.dbname):
            return slot
    return None
