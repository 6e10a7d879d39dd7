"""FeedMessage: a change as an encoder wrote it."""

import attrs


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
