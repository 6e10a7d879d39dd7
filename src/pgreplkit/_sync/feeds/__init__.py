# Generated from pgreplkit/_async/feeds/__init__.py by `nox -s sync`. Do not edit.
"""Feeds: a slot, an encoder and a sink."""
