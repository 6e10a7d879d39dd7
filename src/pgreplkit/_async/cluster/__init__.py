"""Clusters: discovery, monitoring, and operations."""
