# Generated from pgreplkit/_async/streams/__init__.py by `nox -s sync`. Do not edit.
"""Streams of the replication protocol: changes, WAL, base backups."""
