"""Rows and SQL that place a server within a cluster."""
