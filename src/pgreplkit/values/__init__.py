"""Immutable value types without I/O; their results agree with the server's."""
