"""DebeziumJson against what Debezium's own engine has made of the same changes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from pgreplkit import LSN
from pgreplkit.feeds import DebeziumJson, FeedMessage, FeedSource, PlainJson
from pgreplkit.feeds.change import FeedChange, changes_of
from pgreplkit.protocol.feedback import Feedback
from pgreplkit.protocol.pgoutput.decoder import Decoder
from pgreplkit.protocol.rawtransactions import RawTransactionFeed

RECORDED = json.loads((Path(__file__).parents[1] / "data" / "debezium.json").read_text())
SOURCE = FeedSource("cdc", 7, "postgres", 16)
