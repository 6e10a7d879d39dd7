"""Feeds: a slot, an encoder and a sink."""
