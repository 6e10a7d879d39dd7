"""Version: the commit of which a row is, as far as it is known."""

from datetime import datetime

import attrs

from pgreplkit.values.record import Record


@attrs.frozen
class Version(Record):
    """The commit that wrote a row last."""

    commit_time: datetime | None
    """None if the server does not know it, as without track_commit_timestamp."""
    origin: str | None
    """The node on which the commit was made first; None if it is unknown."""
