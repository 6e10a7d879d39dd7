"""Steps of a major upgrade; ``node`` is "old" or "new"."""

from typing import ClassVar

import attrs

from pgreplkit._text import counted
from pgreplkit.plans.cluster.steps import Step, as_names


@attrs.frozen
class CopyTables(Step):
    """Copy the schema without the indexes, constraints and triggers that applying does not need."""

    check = "the tables and keys that exist already are the same"
    _description = "copy the definitions of types, functions and tables, and the keys"
    _action = "pg_dump | pg_restore --section=pre-data; pg_restore --section=post-data --use-list=…"


@attrs.frozen
class CopyIndexes(Step):
    """Copy the rest of the schema: an index is built faster than it is maintained by a copy."""

    _description = "copy the other indexes, foreign keys and triggers"
    _action = "pg_dump --section=post-data | pg_restore --single-transaction --use-list=…"


@attrs.frozen
class FenceTables(Step):
    """Refuse all writes to the tables, except those of apply workers."""

    # Otherwise its rows would come after the position until which the new server waits.
    check = "no transaction that has written is open when it is done"
    undo = "lift the write fence"
    _description = "fence {count}, and wait for their writers"
    _action = "CREATE TRIGGER {fence} BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE …"

    fence: str
    tables: tuple[str, ...] = attrs.field(converter=as_names)
    hint: str = ""
    identity: str = ""
    """The identity of this run's fence; empty if it was not begun."""

    def unbegun(self) -> Step:
        return attrs.evolve(self, identity="")

    # A database may have thousands of tables.
    def _shown(self) -> dict[str, object]:
        return {**super()._shown(), "count": counted(len(self.tables), "table")}


@attrs.frozen
class PublishTables(Step):
    """Publish the tables of one group."""

    undo = "drop the publication"
    _description = "publish {count} as {publication}"
    _action = "CREATE PUBLICATION {publication} FOR TABLE ONLY …"

    publication: str
    tables: tuple[str, ...] = attrs.field(converter=as_names)
    identity: str = ""
    """The identity of the publication of a clone; empty if the step was not begun."""

    def unbegun(self) -> Step:
        return attrs.evolve(self, identity="")

    def _shown(self) -> dict[str, object]:
        return {**super()._shown(), "count": counted(len(self.tables), "table")}


@attrs.frozen
class KeepSchema(Step):
    """Keep the fingerprint of a server's schema, to find DDL since then."""

    _description = "keep the fingerprint of the schema"
    _action = "COMMENT ON PUBLICATION {publication} IS …"

    publication: str


@attrs.frozen
class Subscribe(Step):
    """Subscribe to one group, and start to copy its rows."""

    undo = "drop the subscription and its slot"
    _description = "subscribe to {publication}, which copies its tables"
    _action = "CREATE SUBSCRIPTION {publication} …"

    publication: str


@attrs.frozen
class WaitCopied(Step):
    """Wait until all tables are copied."""

    _description = "wait until {subscriptions} have copied all tables"
    _action = "SELECT srsubstate FROM pg_subscription_rel"

    subscriptions: tuple[str, ...] = attrs.field(converter=as_names)


@attrs.frozen
class Analyze(Step):
    """Collect the statistics, which are not replicated."""

    _description = "collect statistics"
    _action = "ANALYZE"


@attrs.frozen
class WaitApplied(Step):
    """Wait until the subscriptions have applied all that the fenced server wrote."""

    # Such as a partition that was created after the checks.
    check = (
        "no table of the other server is left out that was not known when this was planned, and"
        " both servers are fenced"
    )
    _description = "wait until {subscriptions} have applied everything"
    _action = "pg_logical_emit_message(), pg_replication_origin_progress()"

    subscriptions: tuple[str, ...] = attrs.field(converter=as_names)
    left_out: tuple[str, ...] = attrs.field(default=(), converter=as_names)
    """Tables that were not published when the operation was planned; the checks report them."""
    fenced: tuple[str, ...] = attrs.field(default=(), converter=as_names)
    """Publications, or subscriptions, of this server whose tables stay fenced until it is opened:
    without those that were added to the way back."""


@attrs.frozen
class SetSequences(Step):
    """Set the sequences to the positions of the fenced server, and none of them back."""

    # A number that is drawn afterwards would be drawn on the other server, too.
    check = "the other server is fenced"
    _description = "set the sequences to those of {source}"
    _action = "SELECT setval(…)"

    source: str


@attrs.frozen
class StopSubscriptions(Step):
    """Disable subscriptions, before their tables accept writes again."""

    # They still have their slots and origins, so that they continue where they stopped.
    undo = "enable them again"
    _description = "disable {subscriptions}"
    _action = "ALTER SUBSCRIPTION … DISABLE"

    subscriptions: tuple[str, ...] = attrs.field(converter=as_names)


@attrs.frozen
class MakeBackSlots(Step):
    """Create the slots of the way back, while nothing writes."""

    check = "slots that already exist stay unchanged"
    undo = "drop the slots"
    _description = "create the slots {slots} for the way back"
    _action = "pg_create_logical_replication_slot()"

    slots: tuple[str, ...] = attrs.field(converter=as_names)


@attrs.frozen
class OpenTables(Step):
    """Permit writes: the triggers of the fence stay, because transactions that read hold locks."""

    # From here on clients may have committed rows that only this server has.
    is_final = True
    caution: ClassVar[str] = "complete the operation with resume(), then plan the way back"
    _description = "accept writes"
    _action = "CREATE OR REPLACE FUNCTION {fence}.pgreplkit_refuse_writes() …"

    fence: str


@attrs.frozen
class RemoveFence(Step):
    """Remove the triggers of a fence that already permits writes."""

    # DROP TRIGGER takes a lock that conflicts with readers.
    check = "the transactions that read the tables have ended"
    _description = "remove the write fence"
    _action = "DROP TRIGGER {fence} …"

    fence: str


@attrs.frozen
class Redirect(Step):
    """Call the function that moves the clients to this server."""

    is_final = True
    caution: ClassVar[str] = "complete the operation with resume(), then plan the way back"
    _description = "move the clients here"
    _action = "redirect({node!r})"


@attrs.frozen
class SubscribeBack(Step):
    """Subscribe to the new server's publication, without a copy."""

    _description = "subscribe to {publication} of the new server, without a copy"
    _action = "CREATE SUBSCRIPTION {publication} … WITH (copy_data = false, create_slot = false)"

    publication: str


@attrs.frozen
class ArmForward(Step):
    """Let the forward subscriptions continue here, past all that both servers have."""

    # The changes that the slot passes over then were written by the server that reads it.
    check = "both servers are fenced, and have the same rows"
    _description = "move {subscriptions} past what both servers have"
    _action = "pg_replication_slot_advance(), pg_replication_origin_advance()"

    subscriptions: tuple[str, ...] = attrs.field(converter=as_names)


@attrs.frozen
class StartSubscriptions(Step):
    """Enable subscriptions again."""

    undo = "disable them"
    _description = "enable {subscriptions}"
    _action = "ALTER SUBSCRIPTION … ENABLE"

    subscriptions: tuple[str, ...] = attrs.field(converter=as_names)


@attrs.frozen
class DropSubscriptions(Step):
    """Drop subscriptions with their slots on the other server."""

    is_final = True
    _description = "drop {subscriptions} with their slots"
    _action = "DROP SUBSCRIPTION …"

    subscriptions: tuple[str, ...] = attrs.field(converter=as_names)


@attrs.frozen
class DropPublications(Step):
    """Drop publications."""

    is_final = True
    _description = "drop the publications {publications}"
    _action = "DROP PUBLICATION …"

    publications: tuple[str, ...] = attrs.field(converter=as_names)


@attrs.frozen
class CopyServer(Step):
    """Copy the server as a standby that is not started yet, while initdb creates the new one."""

    check = "both directories are missing or empty"
    undo = "remove both directories' files, and the slot of the copy"
    _description = "copy the server into {directory}"
    _action = "pg_basebackup --pgdata={directory} --slot={slot}; at the same time, initdb"

    directory: str
    slot: str


@attrs.frozen
class MakeForwardSlots(Step):
    """Create the slots of all groups at one position, up to which the copy is recovered."""

    check = "slots that already exist stay unchanged, if they are at one position"
    undo = "drop the slots"
    _description = "create the slots {slots} at one position"
    _action = "pg_create_logical_replication_slot(), pg_replication_slot_advance()"

    slots: tuple[str, ...] = attrs.field(converter=as_names)


@attrs.frozen
class RecoverCopy(Step):
    """Recover the copy up to the position of the slots, and stop it.

    Not including it: a commit that starts exactly there is sent by the slots.
    """

    check = "afterwards, its new timeline begins exactly there"
    _description = "recover {directory} up to the position of {slots}, promote and stop it"
    _action = "recovery_target_lsn = …, recovery_target_inclusive = off"

    directory: str
    slots: tuple[str, ...] = attrs.field(converter=as_names)


@attrs.frozen
class UpgradeCopy(Step):
    """Upgrade the copy into the new server's data directory."""

    check = "pg_upgrade finds both clusters compatible"
    undo = "stop the new server, and remove its data directory"
    _description = "upgrade {copy} into {directory}"
    _action = "pg_upgrade --new-datadir={directory} --{transfer}"

    directory: str
    copy: str
    transfer: str


@attrs.frozen
class StartUpgraded(Step):
    """Configure and start the new server."""

    _description = "start the server in {directory}"
    _action = "write pg_hba.conf and postgresql.auto.conf; pg_ctl start"

    directory: str


@attrs.frozen
class DropCopiedPublications(Step):
    """Drop the publications that were copied from the old server with everything else."""

    _description = "drop the copies of the publications {publications}"
    _action = "DROP PUBLICATION …"

    publications: tuple[str, ...] = attrs.field(converter=as_names)


@attrs.frozen
class SubscribeAt(Step):
    """Subscribe at the position up to which the copy was recovered, without a copy of rows."""

    _description = "subscribe to {publication} at the position of its slot, without a copy"
    _action = "CREATE SUBSCRIPTION {publication} …; pg_replication_origin_advance()"

    publication: str


@attrs.frozen
class AnalyzeUpgraded(Step):
    """Collect the statistics that pg_upgrade has not kept; before 18 it keeps none."""

    _description = "collect the statistics that pg_upgrade has not kept"
    _action = "ANALYZE"


@attrs.frozen
class RemoveCopy(Step):
    """Remove the copy; the new server has its files, or links to them."""

    _description = "remove the files in {directory}"
    _action = "rm -r {directory}/*"

    directory: str
