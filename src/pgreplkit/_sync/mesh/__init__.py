# Generated from pgreplkit/_async/mesh/__init__.py by `nox -s sync`. Do not edit.
"""Servers that all write."""
