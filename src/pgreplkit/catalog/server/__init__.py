"""Rows and SQL of one server: positions, replication, slots, settings."""
