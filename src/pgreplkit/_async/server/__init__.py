"""One server: its state, slots, roles and access."""
