"""HbaRule: a line of pg_hba.conf, as parsed by the server."""

import attrs

from pgreplkit.catalog.view import View, column
from pgreplkit.values.record import Record


def _words(words: list[str] | tuple[str, ...] | None) -> tuple[str, ...]:
    return tuple(words or ())


@attrs.frozen(kw_only=True)
class HbaRule(Record):
    """A line of pg_hba.conf as the file is now; the server may not have loaded it yet.

    Source: pg_hba_file_rules.
    """

    rule_number: int | None = attrs.field(default=None, metadata=column(since=16))
    """Its number among the rules without errors."""
    file_name: str | None = attrs.field(default=None, metadata=column(since=16))
    line_number: int
    type: str | None
    """local, host, hostssl, hostnossl, hostgssenc or hostnogssenc; None for a line in error."""
    database: tuple[str, ...] = attrs.field(converter=_words)
    user_name: tuple[str, ...] = attrs.field(converter=_words)
    address: str | None
    netmask: str | None
    auth_method: str | None
    options: tuple[str, ...] = attrs.field(converter=_words)
    error: str | None
    """The error in the line. A line without a type prevents the whole file from being loaded; any
    other matches nothing, such as hostssl while SSL is off."""

    def __str__(self) -> str:
        network = f"{self.address}/{self.netmask}" if self.netmask else self.address
        words = [
            self.type,
            ",".join(self.database),
            ",".join(self.user_name),
            network,
            self.auth_method,
            *self.options,
        ]
        return " ".join(word for word in words if word)


HBA_RULES = View(HbaRule, "pg_hba_file_rules")
