"""The content of a stream of Redis."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis


async def entries(url: str, key: str) -> list[tuple[str, dict[bytes, bytes]]]:
    """Return the entries of a stream, in order."""
    client = Redis.from_url(url)
    try:
        found: list[tuple[str, dict[bytes, bytes]]] = []
        while True:
            after = f"({found[-1][0]}" if found else "-"
            page: Any = await client.xrange(key, after, count=1_000)
            found += [(entry.decode(), fields) for entry, fields in page]
            if not page:
                return found
    finally:
        await client.aclose()


async def bodies(url: str, key: str) -> list[bytes]:
    return [fields[b"body"] for _, fields in await entries(url, key)]
