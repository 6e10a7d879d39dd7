"""Decisions about one server: access, readiness, retention of WAL."""
