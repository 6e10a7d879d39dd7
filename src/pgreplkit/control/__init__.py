"""How a server is acted on where SQL does not reach: its programs, its files, its service."""
