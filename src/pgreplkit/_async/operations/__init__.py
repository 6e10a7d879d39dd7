"""What is done to the servers of a cluster, step by step."""
