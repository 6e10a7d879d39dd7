"""What is to be done, worked out from facts alone; nothing here talks to a server."""
