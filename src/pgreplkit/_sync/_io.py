"""What differs between the colours: here, waiting in this thread. Written by hand."""

from __future__ import annotations

from time import sleep as sleep
