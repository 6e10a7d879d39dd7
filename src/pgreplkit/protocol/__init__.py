"""What servers say in the replication protocol, taken apart."""
