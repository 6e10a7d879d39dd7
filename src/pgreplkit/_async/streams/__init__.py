"""Streams of the replication protocol: changes, WAL, base backups."""
