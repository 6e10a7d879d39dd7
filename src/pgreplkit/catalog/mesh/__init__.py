"""Rows and statements of servers that all write."""
