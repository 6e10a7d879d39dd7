"""The content of a stream of NATS JetStream."""

from __future__ import annotations

import nats
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, StreamConfig


async def messages(url: str, stream: str) -> list[Msg]:
    """Return the messages of a stream, in order, without positions that have no message."""
    client = await nats.connect(url)
    try:
        streams = client.jetstream()
        info = await streams.stream_info(stream)
        left = info.state.messages
        if not left:
            return []
        subject = (info.config.subjects or [])[0]
        # In portions: a client that is sent all at once drops what it has no place for.
        # Without acknowledgements: the server would send the messages again after 30 seconds.
        # The server would drop the consumer of a client that a busy machine stops for 5 seconds.
        once = ConsumerConfig(ack_policy=AckPolicy.NONE, inactive_threshold=60)
        reader = await streams.pull_subscribe(subject, stream=stream, config=once)
        found: list[Msg] = []
        while len(found) < left:
            found += await reader.fetch(min(1000, left - len(found)), timeout=30)
        return [message for message in found if "._position." not in message.subject]
    finally:
        await client.close()


async def bodies(url: str, stream: str) -> list[bytes]:
    return [message.data for message in await messages(url, stream)]


async def make_stream(url: str, name: str, **config: object) -> None:
    """Create a stream with the subjects below its name, and atomic batches."""
    client = await nats.connect(url)
    given = {"subjects": [f"{name}.>"], "allow_atomic": True, **config}
    await client.jetstream().add_stream(StreamConfig(name=name, **given))  # type: ignore[arg-type]
    await client.close()


async def publish(url: str, subject: str) -> None:
    client = await nats.connect(url)
    await client.jetstream().publish(subject, b"of another writer")
    await client.close()
