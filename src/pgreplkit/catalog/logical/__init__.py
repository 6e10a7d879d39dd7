"""Rows and SQL of logical replication: publications, subscriptions, tables."""
