"""Value types: pure, immutable, and equal to what the server says."""
