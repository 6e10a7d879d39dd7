"""A sink in memory, which can be interrupted at each await, and made to break each law."""

from __future__ import annotations

import asyncio

import attrs

from pgreplkit.errors import SinkFenced
from pgreplkit.feeds import FeedBatch, FeedMessage, FeedPosition, SinkLimits


@attrs.define
class Engine:
    """The content of the sink's engine, which survives the sink."""

    messages: list[FeedMessage] = attrs.Factory(list)
    names: list[tuple[int, int]] = attrs.Factory(list)
    position: FeedPosition | None = None
    writes: int = 0

    async def read(self) -> list[bytes]:
        return [message.body or b"" for message in self.messages]


@attrs.define
class ModelSink:
    """A sink that keeps the laws, except for the one named by ``fault``."""

    engine: Engine
    fault: str = ""
    most: int = 10
    hold: float = 0.0
    _expected: int = -1

    async def open(self, feed: str) -> FeedPosition | None:
        await asyncio.sleep(0)
        self._expected = self.engine.writes
        return self.engine.position

    def limits(self) -> SinkLimits:
        return SinkLimits(messages=self.most, message_bytes=10_000, hold=self.hold)

    async def send(self, batch: FeedBatch) -> None:
        await asyncio.sleep(0)
        engine = self.engine
        if engine.writes != self._expected and self.fault != "no fence":
            raise SinkFenced("send a batch", "another sink wrote")
        if self.fault == "position first":
            engine.position = batch.position
            await asyncio.sleep(0)
        if self.fault == "one by one":
            for message in batch.messages:
                engine.messages.append(message)
                await asyncio.sleep(0)
        elif self.fault == "unordered":
            engine.messages.extend(reversed(batch.messages))
        else:
            engine.messages.extend(batch.messages)
        if self.fault == "position last":
            await asyncio.sleep(0)
        engine.names += [(int(lsn), number) for lsn, number in batch.names]
        if batch.messages or self.fault != "no position alone":
            engine.position = batch.position
        engine.writes += 1
        self._expected = engine.writes
        await asyncio.sleep(0)

    async def close(self) -> None:
        await asyncio.sleep(0)
