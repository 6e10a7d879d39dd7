"""This machine's disk and programs: controls, configuration, WAL and backup files."""
