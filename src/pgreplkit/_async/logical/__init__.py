"""Logical replication: publications, subscriptions, comparison, sequences."""
