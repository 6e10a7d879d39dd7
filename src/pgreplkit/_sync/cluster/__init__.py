# Generated from pgreplkit/_async/cluster/__init__.py by `nox -s sync`. Do not edit.
"""Clusters: discovery, monitoring, and operations."""
