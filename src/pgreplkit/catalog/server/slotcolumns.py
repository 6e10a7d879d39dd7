"""SlotColumns: what a slot's state says, as attributes of the slot."""

from __future__ import annotations

from datetime import datetime

from pgreplkit.catalog.server.slot import InvalidationReason, SlotState, SlotType, WalStatus
from pgreplkit.values.lsn import LSN


class SlotColumns:
    """Each column of ``state``, as it was when the slot was last read."""

    state: SlotState

    @property
    def slot_name(self) -> str:
        """Its name."""
        return self.state.slot_name

    @property
    def plugin(self) -> str | None:
        """The output plugin of a logical slot."""
        return self.state.plugin

    @property
    def slot_type(self) -> SlotType:
        """Physical or logical."""
        return self.state.slot_type

    @property
    def datoid(self) -> int | None:
        """The OID of its database, for a logical slot."""
        return self.state.datoid

    @property
    def database(self) -> str | None:
        """The database of a logical slot."""
        return self.state.database

    @property
    def temporary(self) -> bool:
        """Whether it goes with the session that made it."""
        return self.state.temporary

    @property
    def active(self) -> bool:
        """Whether a process was using it."""
        return self.state.active

    @property
    def active_pid(self) -> int | None:
        """The process that was using it."""
        return self.state.active_pid

    @property
    def xmin(self) -> int | None:
        """The oldest transaction whose rows VACUUM keeps for it."""
        return self.state.xmin

    @property
    def catalog_xmin(self) -> int | None:
        """The same for rows of the system catalogs."""
        return self.state.catalog_xmin

    @property
    def restart_lsn(self) -> LSN | None:
        """WAL is kept from here on; None when it reserves none, or is lost."""
        return self.state.restart_lsn

    @property
    def confirmed_flush_lsn(self) -> LSN | None:
        """Up to here the client of a logical slot has confirmed."""
        return self.state.confirmed_flush_lsn

    @property
    def wal_status(self) -> WalStatus | None:
        """Whether the WAL that it needs is safe (13 on)."""
        return self.state.wal_status

    @property
    def safe_wal_size(self) -> int | None:
        """Bytes that can be written before it may be lost (13 on)."""
        return self.state.safe_wal_size

    @property
    def two_phase(self) -> bool | None:
        """Whether it decodes prepared transactions (14 on)."""
        return self.state.two_phase

    @property
    def two_phase_at(self) -> LSN | None:
        """From where it decodes prepared transactions (18 on)."""
        return self.state.two_phase_at

    @property
    def inactive_since(self) -> datetime | None:
        """When it was last let go (17 on)."""
        return self.state.inactive_since

    @property
    def conflicting(self) -> bool | None:
        """Whether a conflict with recovery invalidated it (16 on)."""
        return self.state.conflicting

    @property
    def invalidation_reason(self) -> InvalidationReason | None:
        """Why the server invalidated it (17 on)."""
        return self.state.invalidation_reason

    @property
    def failover(self) -> bool | None:
        """Whether standbys synchronize it (17 on)."""
        return self.state.failover

    @property
    def synced(self) -> bool | None:
        """Whether a standby synchronized it from its primary (17 on)."""
        return self.state.synced

    @property
    def is_lost(self) -> bool:
        """Whether it was invalidated, and can only be dropped."""
        return self.state.is_lost

    @property
    def retained_bytes(self) -> int:
        """Bytes of WAL that it keeps from removal; 0 when it reserves none.

        Source: restart_lsn against pg_current_wal_lsn(), on a standby pg_last_wal_replay_lsn().
        """
        return self.state.retained_bytes

    @property
    def retained_files(self) -> int:
        """WAL files that hold those bytes, with the one that is being written."""
        return self.state.retained_files
