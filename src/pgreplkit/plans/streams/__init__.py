"""Options of streams and of base backups, checked before anything is sent."""
