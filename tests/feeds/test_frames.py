"""The frames of a batch for NATS."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from pgreplkit import LSN
from pgreplkit.errors import SinkRefused
from pgreplkit.feeds import FeedMessage
from pgreplkit.feeds.frames import batch_frames


def parsed(frame: bytes) -> tuple[str, dict[str, str], bytes]:
    """The subject, the headers and the body of a frame, as a server reads it."""
    line, _, rest = frame.partition(b"\r\n")
    operation, subject, size, total = line.split(b" ")
    assert operation == b"HPUB"
    assert len(rest) == int(total) + 2
    assert rest.endswith(b"\r\n")
    block = rest[: int(size)].decode()
    assert block.startswith("NATS/1.0\r\n")
    assert block.endswith("\r\n\r\n")
    headers = dict(one.split(": ", 1) for one in block.split("\r\n")[1:-2])
    return subject.decode(), headers, rest[int(size) : int(total)]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["cdc.a", "cdc.b"]),
            st.none() | st.binary(max_size=20),
            st.none() | st.binary(max_size=20),
        ),
        min_size=1,
    )
)
def test_each_frame_has_its_message(given: list[tuple[str, bytes | None, bytes | None]]) -> None:
    messages = [FeedMessage(*one, (("kind", "row"),)) for one in given]
    names = [(LSN(5 + number // 3), number) for number in range(len(messages))]
    found = [parsed(frame) for frame in batch_frames(messages, names, "orders-7-1", 7)]
    for number, (message, name, (subject, headers, body)) in enumerate(
        zip(messages, names, found, strict=True), 1
    ):
        assert (subject, body) == (message.destination, message.body or b"")
        assert headers["Nats-Batch-Id"] == "orders-7-1"
        assert headers["Nats-Batch-Sequence"] == str(number)
        assert headers.get("Nats-Expected-Last-Sequence") == ("7" if number == 1 else None)
        assert (headers["Pgreplkit-Id"], headers["kind"]) == (f"{name[0]} {name[1]}", "row")
        assert ("Pgreplkit-Key" in headers) == (message.key is not None)
        assert headers.get("Pgreplkit-Tombstone") == ("true" if message.body is None else None)


@pytest.mark.parametrize(
    "header",
    [("a", "b\r\nc: d"), ("a: b", "c"), ("a\n", "b"), ("a\r", "b"), ("a", "b\n"), ("a", "b\r")],
)
def test_a_header_that_would_be_another_one_is_refused(header: tuple[str, str]) -> None:
    message = FeedMessage("cdc.a", None, b"", (header,))
    with pytest.raises(SinkRefused, match="NATS has no header"):
        [*batch_frames([message], [(LSN("0/5"), 1)], "orders", 0)]


@pytest.mark.parametrize("name", ["Nats-Msg-Id", "nats-rollup", "Nats-TTL", "Pgreplkit-Position"])
def test_a_header_on_which_nats_or_the_feed_acts_is_refused(name: str) -> None:
    message = FeedMessage("cdc.a", None, b"", ((name, "1"),))
    with pytest.raises(SinkRefused, match=f"the header '{name}' is one of NATS or of the feed"):
        [*batch_frames([message], [(LSN("0/5"), 1)], "orders", 0)]


def test_a_line_break_in_a_key_is_escaped() -> None:
    message = FeedMessage("cdc.a", b"a\r\nb", b"")
    [frame] = batch_frames([message], [(LSN("0/5"), 1)], "orders", 0)
    assert parsed(frame)[1]["Pgreplkit-Key"] == r"a\r\nb"
