"""SystemIdentity: a server's system identifier, timeline and position."""

import attrs

from pgreplkit.errors import InvalidSystemIdentity
from pgreplkit.values.lsn import LSN
from pgreplkit.values.record import Record


@attrs.frozen
class SystemIdentity(Record):
    """A server's system identifier, timeline, WAL position and connected database.

    initdb generates the ``system_id``; physical replication requires that it is equal on both
    servers.

    >>> SystemIdentity(system_id=7300000000000000000, timeline=3, position=LSN("0/3000060"))
    SystemIdentity(system_id=7300000000000000000, timeline=3, position=LSN('0/3000060'),
        database=None)

    Source:
        IDENTIFY_SYSTEM, or pg_control_system() and the WAL position functions.
    """

    system_id: int
    timeline: int
    position: LSN
    database: str | None = None

    def __attrs_post_init__(self) -> None:
        if type(self.system_id) is not int or type(self.timeline) is not int:
            raise TypeError("a system identifier and a timeline must be ints")
        if not isinstance(self.position, LSN):
            raise TypeError(f"a position must be an LSN, not {type(self.position).__name__}")
        if not 0 < self.system_id < 1 << 64:
            raise InvalidSystemIdentity(self.system_id, "the system identifier is out of range")
        if not 0 < self.timeline < 1 << 32:
            raise InvalidSystemIdentity(self.timeline, "the timeline is out of range")
