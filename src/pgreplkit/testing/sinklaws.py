"""sink_laws: tests whether a sink of your own keeps what a feed relies on."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from itertools import count

import attrs

from pgreplkit import LSN
from pgreplkit._text import counted
from pgreplkit.errors import FeedError, SinkFenced
from pgreplkit.feeds import FeedBatch, FeedMessage, FeedPosition, FeedStage, Sink
from pgreplkit.values.record import Record

FEED = "laws"
_ASKED = 3
"""Times: the second answer is about an engine that has finished its work."""


class LawBroken(AssertionError):
    """A sink that breaks a law; the text names the law and the observation."""


@attrs.frozen(kw_only=True)
class SinkLaws(Record):
    """The extent of a test of a sink."""

    batches: int
    messages: int
    crashes: int
    """Batches that were interrupted."""
    stored: int
    """Interrupted batches that were stored."""


async def sink_laws(
    make_sink: Callable[[], Sink],
    read: Callable[[], Awaitable[Sequence[bytes]]],
    *,
    destination: str = "laws",
    crashes: int = 30,
    pause: float = 0.001,
) -> SinkLaws:
    """Test whether a sink keeps the laws of ``Sink``, on an engine that is empty at first.

    ``make_sink`` returns a new sink for that engine, ``read`` the bodies of all messages that it
    has, in their order. ``crashes`` batches are interrupted, each at another point: after a number
    of turns of the event loop, or after a multiple of ``pause`` seconds.

    Raises: LawBroken.
    """
    trial = _Trial(make_sink, read, destination)
    await trial.begins_empty()
    await trial.stores_in_order()
    await trial.fences()
    for number in range(crashes):
        turns, rest = divmod(number, 2)
        await trial.survives_a_crash(turns if rest else -1, pause * turns)
    await trial.ends_as_it_began()
    return SinkLaws(
        batches=trial.batches,
        messages=len(trial.bodies),
        crashes=crashes,
        stored=trial.stored,
    )


class _Trial:
    def __init__(
        self,
        make_sink: Callable[[], Sink],
        read: Callable[[], Awaitable[Sequence[bytes]]],
        destination: str,
    ) -> None:
        self._make, self._read, self._destination = make_sink, read, destination
        self._lsns, self._numbers = count(0x1000000, 0x28), count(1)
        self.bodies: list[bytes] = []
        """The bodies that the engine must have."""
        self.position: FeedPosition | None = None
        self.batches = self.stored = 0
        self._most = 1
        """The most messages of a batch, once the sink was open."""

    def batch(self, size: int, *, is_whole: bool = True) -> FeedBatch:
        """Return another batch, after the last one; smaller, if the sink takes no more."""
        size = min(size, self._most)
        lsn = LSN(next(self._lsns))
        bodies = [b"%d" % next(self._numbers) for _ in range(size)]
        self.batches += 1
        return FeedBatch(
            [FeedMessage(self._destination, b"key", body, (("kind", "law"),)) for body in bodies],
            FeedPosition(lsn, size, is_whole, FeedStage.STREAMING, 7, 1),
            [(lsn, number) for number in range(1, size + 1)],
        )

    def note(self, batch: FeedBatch) -> None:
        """Note that the engine must have a batch."""
        self.position = batch.position
        self.bodies += [message.body or b"" for message in batch.messages]

    async def insist(self, sink: Sink, law: str) -> None:
        """Open the sink, and compare position and messages."""
        position = await sink.open(FEED)
        if position != self.position:
            raise LawBroken(f"{law}: open() returned {position}, not {self.position}")
        if [*await self._read()] != self.bodies:
            raise LawBroken(f"{law}: the messages are not those up to {position}")

    async def begins_empty(self) -> None:
        """A new sink has no position, and keeps one without messages."""
        sink = self._make()
        await self.insist(sink, "an empty sink has no position")
        first = FeedPosition(LSN.INVALID, 0, False, FeedStage.CREATING, 7, 1)
        await sink.send(FeedBatch((), first, ()))
        self.position = first
        await sink.close()
        await sink.close()
        sink = self._make()
        await self.insist(sink, "a position without messages is stored")
        await sink.close()

    async def stores_in_order(self) -> None:
        """Batches of each size are stored with their position."""
        sink = self._make()
        await sink.open(FEED)
        most = self._most = sink.limits().messages
        for size, is_whole in ((1, True), (2, False), (0, True), (7, True), (most, True)):
            batch = self.batch(size, is_whole=is_whole)
            await sink.send(batch)
            self.note(batch)
        await sink.close()
        sink = self._make()
        await self.insist(sink, "messages are stored in order, with the position after them")
        await sink.close()

    async def fences(self) -> None:
        """A sink that was opened before another one wrote stores nothing."""
        old, new = self._make(), self._make()
        await old.open(FEED)
        await new.open(FEED)
        batch = self.batch(3)
        await new.send(batch)
        self.note(batch)
        for size in (1, 2, 0):
            try:
                await old.send(self.batch(size))
            except SinkFenced:
                await old.close()
                await old.open(FEED)
                await self.insist(new, "a fenced batch is not stored")
                late = self.batch(1)
                await new.send(late)
                self.note(late)
                continue
            raise LawBroken(f"a batch of {size} messages after those of another writer is refused")
        await old.close()
        await new.close()

    async def survives_a_crash(self, turns: int, seconds: float) -> None:
        """A batch that is interrupted is stored with its position, or neither is."""
        sink = self._make()
        await sink.open(FEED)
        batch = self.batch(5, is_whole=turns % 2 == 0)
        job = asyncio.ensure_future(sink.send(batch))
        for _ in range(turns):
            await asyncio.sleep(0)
        if turns < 0:
            await asyncio.sleep(seconds)
        job.cancel()
        with suppress(asyncio.CancelledError, FeedError):
            await job
        # Nothing is closed: a process that is killed closes nothing in order.
        after = self._make()
        await self.find(after, batch)
        following = self.batch(2)
        try:
            await after.send(following)
            self.note(following)
        except SinkFenced:
            # The engine still worked on the interrupted batch: it came before this one.
            await self.find(after, batch)
        await after.close()
        await sink.close()

    async def find(self, sink: Sink, batch: FeedBatch) -> None:
        """Open the sink, and note the batch if it is stored.

        The engine may store it between the two questions, so that they are asked again.
        """
        for _ in range(_ASKED):
            position, bodies = await sink.open(FEED), [*await self._read()]
            if position == self.position and bodies == self.bodies:
                return
            own = [message.body or b"" for message in batch.messages]
            if position == batch.position and bodies == self.bodies + own:
                self.note(batch)
                self.stored += 1
                return
        law = "an interrupted batch is stored with its position, or neither is"
        raise LawBroken(
            f"{law}: open() returned {position}, and the sink has {counted(len(bodies), 'message')}"
        )

    async def ends_as_it_began(self) -> None:
        """All messages are stored, once and in order."""
        sink = self._make()
        await self.insist(sink, "every message is stored once, in order")
        await sink.close()
