"""Connections: SQL links, walsenders, and the COPY protocol."""
