"""Throwaway PostgreSQL servers for tests, demonstrations and notebooks.

>>> from pgreplkit.lab import Lab
>>> with Lab() as lab:
...     primary = lab.primary()
...     standby = lab.standby(primary, slot="replica1")
...     with primary.connect() as server:
...         [sender.application_name for sender in server.replicas()]
['standby1']

Servers run as an unprivileged account and listen on 127.0.0.1 only. They and all their files are
removed when the Lab is closed or when this Python process ends, however it ends. Install the extra
``lab`` to use this module.
"""

# First, because they explain a missing libpq and a missing psutil.
from pgreplkit import driver as driver
from pgreplkit.errors.extras import needs_extra

with needs_extra("lab", "psutil"):
    import psutil as psutil

from pgreplkit.lab.brokers import Broker
from pgreplkit.lab.installs import Installation, find_servers
from pgreplkit.lab.lab import Lab
from pgreplkit.lab.node import Node

__all__ = ["Broker", "Installation", "Lab", "Node", "find_servers"]
