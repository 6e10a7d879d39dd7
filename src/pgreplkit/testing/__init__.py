"""Test support: a pytest plugin and Hypothesis strategies for the value types."""
