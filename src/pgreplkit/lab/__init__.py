"""Throwaway clusters from packaged servers, for tests, demos and notebooks.

>>> from pgreplkit.lab import Lab
>>> with Lab() as lab:
...     primary = lab.primary()
...     standby = lab.standby(primary, slot="replica1")
...     with primary.connect() as server:
...         [sender.application_name for sender in server.replicas()]
['standby1']

Servers run as an unprivileged account, listen on 127.0.0.1 only, and are gone with all their files
when the Lab is closed, or when this Python process ends in whatever way. Needs the extra ``lab``.
"""

from pgreplkit.lab.installs import Installation, find_servers
from pgreplkit.lab.lab import Lab
from pgreplkit.lab.node import Node

__all__ = ["Installation", "Lab", "Node", "find_servers"]
