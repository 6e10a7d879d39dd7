"""What a stream of Redis has."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis


async def entries(url: str, key: str) -> list[tuple[str, dict[bytes, bytes]]]:
    """Return the entries of a stream, in order."""
    client = Redis.from_url(url)
    try:
        found: Any = await client.xrange(key)
        return [(entry.decode(), fields) for entry, fields in found]
    finally:
        await client.aclose()


async def bodies(url: str, key: str) -> list[bytes]:
    return [fields[b"body"] for _, fields in await entries(url, key)]
