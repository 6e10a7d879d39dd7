"""Catalogues of backup tools, as Backup rows."""
