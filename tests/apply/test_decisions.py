"""The decisions of all policies, compared with another model of them that shares no code."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given, strategies as st

from pgreplkit.apply import (
    ApplyRemote,
    DeltaColumns,
    KeepLocal,
    LastUpdateWins,
    MergeWith,
    NodePriority,
    Version,
)

NODES = ("berlin", "paris", "rome")
TIMES = st.none() | st.integers(-1, 1).map(
    lambda seconds: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
)
ROWS = st.none() | st.sampled_from(["(1,a)", "(1,b)", "(1,é)"])


@st.composite
def two_versions(draw: st.DrawFn) -> tuple[Version | None, Version]:
    """Draw a local and a remote version, both with the rank of their node or both without."""
    has_ranks = draw(st.booleans())

    def version() -> Version:
        node = draw(st.sampled_from(NODES))
        rank = NODES.index(node) if has_ranks else None
        return Version(draw(TIMES), node, rank, None if has_ranks else draw(ROWS))

    return draw(st.none()) if draw(st.integers(0, 4)) == 0 else version(), version()


def latest(local: Version | None, remote: Version) -> str:
    """Return which version is the later one, word by word as the documentation says."""
    if local is None:
        return "remote"
    if local.commit_time is None or remote.commit_time is None:
        if local.commit_time is not None:
            return "local"
        return "remote" if remote.commit_time is not None else "equal"
    if local.commit_time != remote.commit_time:
        return "remote" if remote.commit_time > local.commit_time else "local"
    if local.rank is not None and remote.rank is not None:
        names = [*NODES, *[""] * 2]
        mine, theirs = names[local.rank], names[remote.rank]
        if mine == theirs:
            return "equal"
        return "remote" if names.index(theirs) > names.index(mine) else "local"
    if local.row == remote.row:
        return "equal"
    if local.row is None or remote.row is None:
        return "remote" if remote.row is None else "local"
    mine_bytes, their_bytes = local.row.encode(), remote.row.encode()
    return "remote" if their_bytes > mine_bytes else "local"


@given(two_versions())
def test_each_policy_decides_as_documented(versions: tuple[Version | None, Version]) -> None:
    local, remote = versions
    exists, later = local is not None, latest(local, remote)
    assert ApplyRemote().decide(local, remote).value == ("apply" if exists else "skip")
    assert KeepLocal().decide(local, remote).value == "skip"
    assert LastUpdateWins().decide(local, remote).value == ("skip" if later == "local" else "apply")
    assert DeltaColumns({"t": ["n"]}).decide(local, remote).value == (
        "merge" if later == "local" else "apply"
    )
    assert MergeWith(lambda own, other: {}).decide(local, remote).value == (
        "merge" if exists else "apply"
    )
    # rome before berlin; paris is not named, and comes last.
    before = {"rome": 0, "berlin": 1}
    own = before.get(str(local.origin), 2) if local is not None else 3
    assert NodePriority(["rome", "berlin"]).decide(local, remote).value == (
        "apply" if before.get(str(remote.origin), 2) <= own else "skip"
    )
