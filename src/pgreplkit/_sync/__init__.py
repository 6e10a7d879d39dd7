"""The classes that talk to servers: the sync twins, generated from ``_async``."""

# First, because it explains a missing libpq.
from pgreplkit import driver as driver
