"""FEATURES: the major version that each feature needs, checked before anything is sent."""

from __future__ import annotations

from typing import NamedTuple

from packaging.version import Version

from pgreplkit.errors import UnsupportedByServer


# Not an attrs class: attrs would be a tenth of the time that a first connect takes to import.
class Feature(NamedTuple):
    """A feature's name for users, and the first major version that has it."""

    what: str
    since: int


FEATURES = {
    "access.regexes": Feature("regular expressions in pg_hba.conf", 16),
    "archive.library": Feature("archive_library", 15),
    "archive.statusdir": Feature("pg_ls_archive_statusdir()", 12),
    "initdb.no_checksums": Feature("initdb --no-data-checksums (before, the default)", 18),
    "upgrade.socketdir": Feature("pg_upgrade --socketdir", 12),
    "upgrade.statistics": Feature("statistics that pg_upgrade keeps", 18),
    "role.createrole_replication": Feature("CREATEROLE for roles with REPLICATION", 16),
    "settings.grantable": Feature("GRANT ALTER SYSTEM ON PARAMETER", 15),
    "transaction.chain": Feature("COMMIT AND CHAIN", 12),
    "slot.advance": Feature("advance a slot", 11),
    "slot.copy": Feature("copy a slot", 12),
    "slot.two_phase": Feature("two_phase of a logical slot", 14),
    "slot.limit": Feature("max_slot_wal_keep_size", 13),
    "slot.failover": Feature("failover of a logical slot", 17),
    "slot.logical_on_standby": Feature("a logical slot on a standby", 16),
    "standby.apply_delay": Feature(
        "recovery_min_apply_delay without a restart (before, a parameter of recovery.conf)", 12
    ),
    "standby.pause_state": Feature("pg_get_wal_replay_pause_state()", 14),
    "standby.promote_paused": Feature("promotion while replay is paused", 13),
    "standby.promote": Feature("pg_promote() (before, a trigger file or pg_ctl promote)", 12),
    "standby.recovery_settings": Feature("recovery settings without recovery.conf", 12),
    "standby.cluster_name": Feature("cluster_name as the application_name of a standby", 12),
    "standby.no_trigger_file": Feature("promotion without trigger files", 16),
    "standby.reloaded_upstream": Feature("another upstream after a reload of a standby", 13),
    "rewind.recovery": Feature("pg_rewind of a server that was not shut down cleanly", 13),
    "backup.without_exclusive": Feature("backups without an exclusive mode", 15),
    "role.pg_checkpoint": Feature("the role pg_checkpoint", 15),
    "basebackup.server_compression": Feature("compression of a base backup by the server", 15),
    "basebackup.skip_checksums": Feature("verify_checksums=False of a base backup", 11),
    "basebackup.manifest": Feature("the manifest of a base backup", 13),
    "basebackup.incremental": Feature("an incremental base backup", 17),
    "publication.truncate": Feature("TRUNCATE in a publication", 11),
    "publication.via_root": Feature("publish_via_partition_root of a publication", 13),
    "publication.columns": Feature("columns of a published table", 15),
    "publication.where": Feature("a row filter (WHERE) of a published table", 15),
    "publication.schemas": Feature("TABLES IN SCHEMA in a publication", 15),
    "publication.generated": Feature("publish_generated_columns of a publication", 18),
    "publication.except_tables": Feature("ALL TABLES EXCEPT in a publication", 19),
    "publication.all_sequences": Feature(
        "ALL SEQUENCES in a publication (SequencePlan copies sequences before)", 19
    ),
    "publication.gaps": Feature("on_publication_gap='skip'", 18),
    "publication.set_all": Feature("SET ALL TABLES of an existing publication", 19),
    "subscription.copy_data": Feature("copy_data of a subscription", 10),
    "subscription.create_slot": Feature("create_slot of a subscription", 10),
    "subscription.enabled": Feature("enabled of a subscription", 10),
    "subscription.connect": Feature("connect of a subscription", 10),
    "subscription.slot_name": Feature("slot_name of a subscription", 10),
    "subscription.synchronous_commit": Feature("synchronous_commit of a subscription", 10),
    "subscription.binary": Feature("binary of a subscription", 14),
    "subscription.streaming": Feature("streaming of a subscription", 14),
    "subscription.parallel": Feature("streaming='parallel' of a subscription", 16),
    "subscription.two_phase": Feature("two_phase of a subscription", 15),
    "subscription.disable_on_error": Feature("disable_on_error of a subscription", 15),
    "subscription.password_required": Feature("password_required of a subscription", 16),
    "subscription.run_as_owner": Feature("run_as_owner of a subscription", 16),
    "subscription.origin": Feature("origin of a subscription", 16),
    "subscription.failover": Feature("failover of a subscription", 17),
    "subscription.retain_dead_tuples": Feature("retain_dead_tuples of a subscription", 19),
    "subscription.max_retention_duration": Feature("max_retention_duration of a subscription", 19),
    "subscription.wal_receiver_timeout": Feature("wal_receiver_timeout of a subscription", 19),
    "subscription.refresh_sequences": Feature(
        "REFRESH SEQUENCES of a subscription (SequencePlan does it before)", 19
    ),
    "subscription.alter_two_phase": Feature("two_phase of an existing subscription", 18),
    "subscription.conflicts": Feature("conflicts in the log", 18),
    "subscription.stats": Feature("pg_stat_subscription_stats", 15),
    "subscription.skip": Feature("SKIP of a subscription", 15),
    "subscription.creator": Feature("the role pg_create_subscription", 16),
    "subscription.copy_slots": Feature("slots and origins that outlive a failed copy", 14),
    "subscription.copy_progress": Feature("pg_stat_progress_copy", 14),
    "subscription.sqlstate": Feature("an SQLSTATE for an unreachable publisher", 14),
    "subscription.full_index": Feature("an index for REPLICA IDENTITY FULL", 16),
    "subscription.origin_limit": Feature("max_active_replication_origins", 18),
    "commit.origin": Feature("the origin of a commit", 14),
    "origin.moved_by_rollback": Feature("origins that a rolled back transaction moves", 16),
    "origin.grantable": Feature("grants of the functions of replication origins", 14),
    "table.generated": Feature("generated columns", 12),
    "index.include": Feature("INCLUDE columns of an index", 11),
    "type.multirange": Feature("multiranges", 14),
    "type.short_float": Feature("the shortest text of a float that is exact", 12),
    "function.hash64": Feature("hashtextextended()", 11),
    "database.icu_locale": Feature("pg_database.daticulocale, datlocale from 17 on", 15),
    "collation.deterministic": Feature("pg_collation.collisdeterministic", 12),
    "collation.rules": Feature("pg_collation.collicurules", 16),
    "database.locale": Feature("pg_database.datlocale", 17),
    "role.write_all_data": Feature("the role pg_write_all_data", 14),
    "changes.binary": Feature("binary rows in a stream of changes", 14),
    "changes.streaming": Feature("changes of transactions in progress", 14),
    "changes.messages": Feature("logical messages in a stream of changes", 14),
    "changes.two_phase": Feature("prepared transactions in a stream of changes", 15),
    "changes.parallel": Feature("streaming='parallel' of changes", 16),
    "changes.origin": Feature("origin='none' of a stream of changes", 16),
    "protocol.read_slot": Feature("READ_REPLICATION_SLOT", 15),
    "protocol.two_phase": Feature("two_phase in CREATE_REPLICATION_SLOT", 15),
    "basebackup.progress": Feature("pg_stat_progress_basebackup", 13),
}


def require(feature: str, version: Version) -> None:
    """Raise UnsupportedByServer if a server of that version lacks the feature."""
    wanted = FEATURES[feature]
    if not has(feature, version.major):
        raise UnsupportedByServer(wanted.what, wanted.since, str(version))


def has(feature: str, major: int) -> bool:
    """Return whether servers of that major version have a feature."""
    return major >= FEATURES[feature].since
