"""Encoders: messages of changes."""
