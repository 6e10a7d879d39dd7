"""Decisions about a cluster: topology, steps, switchover, journal."""
