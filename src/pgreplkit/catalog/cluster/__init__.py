"""Rows and SQL about the place of a server in a cluster."""
