"""The classes that talk to servers. ``_sync`` is generated from here by ``nox -s sync``."""

# First, because it explains a missing libpq.
from pgreplkit import driver as driver
