"""Fields: typed access to the JSON of a catalogue."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from pgreplkit.errors import InvalidValue
from pgreplkit.offline.backups import InvalidBackupCatalog, Json
from pgreplkit.values.lsn import LSN
from pgreplkit.values.segment import SegmentSize
from pgreplkit.values.walfile import WalFileName


def catalog(text: str | bytes) -> Fields:
    """Parse the JSON of a catalogue.

    Raises: InvalidBackupCatalog.
    """
    if not isinstance(text, str | bytes):
        raise TypeError(
            f"a catalogue must be the text of a tool's output, not {type(text).__name__}"
        )
    try:
        return Fields("the catalogue", json.loads(text))
    except (ValueError, RecursionError) as error:
        raise InvalidBackupCatalog(text, f"it is not JSON: {str(error)[:80]}") from None


class Fields:
    """A JSON value with its place in the catalogue, for errors."""

    def __init__(self, place: str, value: Json) -> None:
        self.place = place
        self.value = value

    def items(self) -> list[Fields]:
        """Return the items of a list."""
        if not isinstance(self.value, list):
            raise self._refusal("a list")
        return [Fields(f"{self.place}[{n}]", value) for n, value in enumerate(self.value)]

    def optional(self, key: str) -> Fields | None:
        """Return a field; None if it is missing or null."""
        if not isinstance(self.value, dict):
            raise self._refusal("an object")
        value = self.value.get(key)
        return None if value is None else Fields(f"{self.place}.{key}", value)

    def field(self, key: str) -> Fields:
        """Return a field that must be there."""
        field = self.optional(key)
        if field is None:
            raise InvalidBackupCatalog(f"{self.place}.{key}", "it is missing")
        return field

    def text(self, key: str) -> str:
        """Return a text."""
        field = self.field(key)
        if not isinstance(field.value, str):
            raise field._refusal("a text")
        return field.value

    def optional_text(self, key: str) -> str | None:
        """Return a text; None if it is missing, null or empty."""
        return (self.text(key) or None) if self.optional(key) else None

    def whole(self, key: str) -> int:
        """Return a whole number."""
        field = self.field(key)
        # Not isinstance(): in Python true is an int.
        if type(field.value) is not int:
            raise field._refusal("a whole number")
        return field.value

    def optional_whole(self, key: str) -> int | None:
        """Return a whole number; None if it is missing or null."""
        return self.whole(key) if self.optional(key) else None

    def lsn(self, key: str) -> LSN:
        """Return a position, from a text or a whole number."""
        value = self.field(key).value
        try:
            return LSN(self.text(key) if isinstance(value, str) else self.whole(key))
        except InvalidValue as error:
            raise InvalidBackupCatalog(f"{self.place}.{key}", error.reason) from None

    def time(self, key: str) -> datetime:
        """Return a time that is stored as seconds since 1970."""
        seconds = self.whole(key)
        try:
            return datetime.fromtimestamp(seconds, tz=UTC)
        except (OverflowError, ValueError, OSError):
            found = f"{seconds} is not a time"
            raise InvalidBackupCatalog(f"{self.place}.{key}", found) from None

    def wal_file(self, key: str, segment_size: SegmentSize = SegmentSize.DEFAULT) -> WalFileName:
        """Return the name of a segment."""
        try:
            return WalFileName.parse(self.text(key), segment_size=segment_size)
        except InvalidValue as error:
            raise InvalidBackupCatalog(f"{self.place}.{key}", error.reason) from None

    def _refusal(self, wanted: str) -> InvalidBackupCatalog:
        return InvalidBackupCatalog(self.place, f"it is not {wanted}")
