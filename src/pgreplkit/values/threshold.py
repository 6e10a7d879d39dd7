"""Threshold: a range of values in the notation of monitoring plugins."""

import math
import re
from decimal import Decimal

import attrs

from pgreplkit.errors import InvalidThreshold
from pgreplkit.values.modelfield import ModelField

_NUMBER = r"-?[0-9]+(?:\.[0-9]+)?"
_RANGE = re.compile(rf"(?P<at>@)?(?:(?P<start>~|{_NUMBER})?(?P<colon>:))?(?P<end>{_NUMBER})?")


@attrs.frozen
class Threshold(ModelField):
    """A range of values, and the side of it that is a problem.

    The notation is that of the monitoring plugins of Nagios and its successors.

    >>> Threshold.parse("10").is_violated_by(11), Threshold.parse("10").is_violated_by(10)
    (True, False)
    >>> Threshold.parse("10:20"), Threshold.parse("~:10"), str(Threshold.parse("@5:10"))
    (Threshold.parse('10:20'), Threshold.parse('~:10'), '@5:10')
    >>> Threshold.parse("10:").is_violated_by(9)
    True

    Raises:
        InvalidThreshold: If the range ends before it starts, or is not a number.
    """

    start: float = 0.0
    """The lowest value of the range; minus infinity for ``~``."""
    end: float = math.inf
    """The highest value of the range."""
    inside: bool = False
    """Whether values in the range are the problem (``@``), and not those outside."""

    def __attrs_post_init__(self) -> None:
        if math.isnan(self.start) or math.isnan(self.end) or math.inf == self.start:
            raise InvalidThreshold(f"{self.start}:{self.end}", "a limit is not a number")
        if self.end < self.start:
            raise InvalidThreshold(str(self), "the range ends before it starts")

    @classmethod
    def parse(cls, text: str) -> "Threshold":
        """Return the threshold that a text denotes.

        Raises:
            InvalidThreshold: If it is not in the notation of monitoring plugins.
        """
        if not isinstance(text, str):
            raise TypeError(f"Threshold.parse() takes a str, not {type(text).__name__}")
        found = _RANGE.fullmatch(text.strip())
        if found is None or not (found["colon"] or found["end"]):
            raise InvalidThreshold(text, "not in the notation of monitoring plugins")
        start = -math.inf if found["start"] == "~" else float(found["start"] or 0)
        end = math.inf if found["end"] is None else float(found["end"])
        if end < start:
            raise InvalidThreshold(text, "the range ends before it starts")
        return cls(start, end, found["at"] is not None)

    def is_violated_by(self, value: float) -> bool:
        """Return whether a value is a problem."""
        return (self.start <= value <= self.end) is self.inside

    def __str__(self) -> str:
        at = "@" if self.inside else ""
        start = "~" if self.start == -math.inf else number_text(self.start)
        if self.end == math.inf:
            return f"{at}{start}:"
        # A range from 0 needs no start.
        end = number_text(self.end)
        return f"{at}{end}" if self.start == 0 else f"{at}{start}:{end}"

    def __repr__(self) -> str:
        return f"Threshold.parse({str(self)!r})"


def number_text(value: float) -> str:
    """Return a number without exponent and superfluous digits, as plugins write it.

    >>> number_text(10.0), number_text(0.25), number_text(1e15)
    ('10', '0.25', '1000000000000000')
    """
    return str(int(value)) if value == int(value) else format(Decimal(repr(value)), "f")
