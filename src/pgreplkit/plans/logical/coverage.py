"""Which publications a comparison of two databases covers when no tables are named."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from pgreplkit.errors import PublicationNotFound


def publications_covered(
    operation: str,
    subscribed: Mapping[str, Sequence[str]],
    published: Collection[str],
    *,
    with_slot: Collection[str] = (),
) -> list[str]:
    """Return the publications whose tables an operation covers by default.

    ``subscribed`` holds the publications of each subscription of the subscriber, by the
    subscription's name, and ``published`` the publications that the publisher has. A subscription
    none of whose publications exist there belongs to another publisher and is passed over, unless
    its slot exists there: it is then among ``with_slot``. Without a subscription to this publisher,
    all of its publications are covered, so that a check made before subscribing still looks at
    something.

    Raises: PublicationNotFound for a publication that a subscription to this publisher names and
    the publisher lacks, and when the publisher has no publication at all.
    """
    covered: set[str] = set()
    for subscription, names in sorted(subscribed.items()):
        existing = {*names} & {*published}
        missing = {*names} - existing
        # A part of a subscription would be compared, and the rest passed over silently.
        if missing and (existing or subscription in with_slot):
            raise PublicationNotFound(
                operation,
                f"subscription {subscription!r} names {_quoted(missing)}, which the publisher does"
                " not have; create it there, or name the tables with tables=",
            )
        covered |= existing
    if not covered and not published:
        raise PublicationNotFound(
            operation,
            "the subscriber has no subscription to this publisher, and the publisher has no"
            " publication in its database; name the tables with tables=",
        )
    return sorted(covered or published)


def _quoted(names: Collection[str]) -> str:
    return ", ".join(repr(name) for name in sorted(names))
