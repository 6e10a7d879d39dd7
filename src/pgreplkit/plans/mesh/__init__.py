"""Decisions about servers that all write."""
