"""Decisions: findings and steps from facts, without any connection to a server."""
