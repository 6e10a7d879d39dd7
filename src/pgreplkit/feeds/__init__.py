"""Send the changes of a slot to an engine that stores and distributes messages, exactly once.

A feed reads a slot, encodes each change as messages, and sends them to a sink, which stores its
position together with them.
"""

from pgreplkit._public import TYPE_CHECKING, lazy as _lazy

if TYPE_CHECKING:
    from pgreplkit._async.feeds.feed import AsyncFeed as AsyncFeed
    from pgreplkit._async.feeds.fleet import AsyncFleet as AsyncFleet
    from pgreplkit._sync.feeds.feed import Feed as Feed
    from pgreplkit._sync.feeds.fleet import Fleet as Fleet
    from pgreplkit.feeds.batches import FeedBatch as FeedBatch
    from pgreplkit.feeds.change import (
        FeedChange as FeedChange,
        FeedOperation as FeedOperation,
        FeedSource as FeedSource,
    )
    from pgreplkit.feeds.destinations import (
        Destination as Destination,
        escaped_name as escaped_name,
        unescaped_name as unescaped_name,
    )
    from pgreplkit.feeds.encoding.cloudevents import CloudEvents as CloudEvents
    from pgreplkit.feeds.encoding.debezium import DebeziumJson as DebeziumJson
    from pgreplkit.feeds.encoding.plain import PlainJson as PlainJson
    from pgreplkit.feeds.fleet import FeedStatus as FeedStatus
    from pgreplkit.feeds.message import FeedMessage as FeedMessage
    from pgreplkit.feeds.position import FeedPosition as FeedPosition, FeedStage as FeedStage
    from pgreplkit.feeds.sink import Encoder as Encoder, Sink as Sink, SinkLimits as SinkLimits
    from pgreplkit.feeds.states import FeedReport as FeedReport, FeedState as FeedState
    from pgreplkit.sinks.jetstream import JetStream as JetStream
    from pgreplkit.sinks.kafka import Kafka as Kafka
    from pgreplkit.sinks.redisstreams import RedisStreams as RedisStreams

# Hidden from type checkers, which would take any name for a public one.
if not TYPE_CHECKING:
    __getattr__, __dir__ = _lazy(__name__)
    __all__ = __dir__()
