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
from pgreplkit._public import TYPE_CHECKING, lazy as _lazy
from pgreplkit.errors.extras import needs_extra

with needs_extra("lab", "psutil"):
    import psutil as psutil

if TYPE_CHECKING:
    from pgreplkit.lab.brokers import Broker as Broker
    from pgreplkit.lab.installs import Installation as Installation, find_servers as find_servers
    from pgreplkit.lab.lab import Lab as Lab
    from pgreplkit.lab.node import Node as Node

# Hidden from type checkers, which would take any name for a public one.
if not TYPE_CHECKING:
    __getattr__, __dir__ = _lazy(__name__)
    __all__ = __dir__()
