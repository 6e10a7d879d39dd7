"""The classes that talk to servers: the sync twins, generated from ``_async``."""
