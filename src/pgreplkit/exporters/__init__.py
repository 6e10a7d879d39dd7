"""Adapters for the libraries of monitoring systems."""
