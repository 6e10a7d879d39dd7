"""Servers that all write."""
