"""The replication protocol: bytes to objects, and objects to bytes."""
