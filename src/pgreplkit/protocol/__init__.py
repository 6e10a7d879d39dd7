"""The replication protocol: its commands, and its messages decoded."""
