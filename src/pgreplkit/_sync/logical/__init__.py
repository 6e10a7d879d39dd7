# Generated from pgreplkit/_async/logical/__init__.py by `nox -s sync`. Do not edit.
"""Logical replication: publications, subscriptions, comparison, sequences."""
