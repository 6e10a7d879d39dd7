"""Decisions about clusters: topology, steps, findings, journals."""
