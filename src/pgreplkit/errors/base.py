"""Error: the base of the tree."""

from __future__ import annotations


class Error(Exception):
    """The base of all errors of pgreplkit."""
