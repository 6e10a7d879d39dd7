"""Decisions about logical replication: differences, drift, stuck subscriptions."""
