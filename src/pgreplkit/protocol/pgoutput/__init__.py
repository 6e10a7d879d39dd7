"""pgoutput, PostgreSQL's own output plugin: its messages, and the rows in them."""
