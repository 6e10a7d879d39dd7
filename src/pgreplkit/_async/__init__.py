"""The classes that talk to servers. ``_sync`` is generated from here by ``nox -s sync``."""
