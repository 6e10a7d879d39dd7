"""FeedMessage: a change as an encoder wrote it."""

import attrs

from pgreplkit.values.lsn import LSN

ID = "Pgreplkit-Id"
"""The header with the name of a message's change, where an engine has headers."""


def id_of(name: tuple[LSN, int]) -> str:
    """Return the name of a change as the value of the header."""
    return f"{name[0]} {name[1]}"


@attrs.frozen
class FeedMessage:
    """A message for an engine."""

    destination: str
    """The subject, topic or stream."""
    key: bytes | None
    """The key of the row; None if the change has none."""
    body: bytes | None
    """The content; None for a tombstone, which deletes the key where topics are compacted."""
    headers: tuple[tuple[str, str], ...] = ()
