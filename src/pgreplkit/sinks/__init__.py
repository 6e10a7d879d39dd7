"""Sinks: each module is the only one that imports the client of its engine."""
