"""Clusters: discovery, watching, and the operations that change them."""
