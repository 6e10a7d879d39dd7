# Generated from pgreplkit/_async/server/__init__.py by `nox -s sync`. Do not edit.
"""One server: its state, slots, roles and access."""
