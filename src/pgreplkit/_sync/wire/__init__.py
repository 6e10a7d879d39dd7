# Generated from pgreplkit/_async/wire/__init__.py by `nox -s sync`. Do not edit.
"""Connections: SQL links, walsenders, and the COPY protocol."""
