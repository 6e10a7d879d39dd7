"""Use everything in a record of WAL, which may be damaged."""

from __future__ import annotations

import contextlib

from pgreplkit.errors import InvalidWal
from pgreplkit.offline.checkpoints import checkpoint_of, is_checkpoint
from pgreplkit.offline.records import WalRecord
from pgreplkit.offline.xacts import end_time, subtransactions


def use(record: WalRecord) -> None:
    """Decode everything in a record."""
    with contextlib.suppress(InvalidWal):
        record.to_dict()
        end_time(record)
        subtransactions(record)
        if is_checkpoint(record):
            checkpoint_of(record)
        for block in record.blocks:
            if block.image is not None:
                block.image.restore()
