"""Conflict policies: which of two versions of a row stays."""

from enum import Enum
from typing import Protocol

import attrs

from pgreplkit.apply.versions import Version


class Decision(Enum):
    """The fate of a remote change that conflicts with a local row."""

    APPLY = "apply"
    """The remote change replaces the local row."""
    SKIP = "skip"
    """The local row stays as it is."""


class Policy(Protocol):
    """Decides conflicts between a local row and a remote change."""

    def decide(self, local: Version | None, remote: Version) -> Decision:
        """Return the decision; ``local`` is None if there is no local row."""


@attrs.frozen
class ApplyRemote:
    """The publisher's change wins.

    An insert of an existing row replaces it. An update or delete of a missing row is skipped, as by
    a native subscription: there is nothing to change.
    """

    def decide(self, local: Version | None, remote: Version) -> Decision:
        """Apply the change if there is a row."""
        return Decision.SKIP if local is None else Decision.APPLY


@attrs.frozen
class KeepLocal:
    """The subscriber's row wins: an insert of an existing row is skipped."""

    def decide(self, local: Version | None, remote: Version) -> Decision:
        """Skip the change."""
        return Decision.SKIP
