"""What differs between the colours: here, waiting in an event loop."""

from __future__ import annotations

from asyncio import sleep as sleep
