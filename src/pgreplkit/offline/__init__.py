"""WAL files and archives, read without a server. Pure over files."""
