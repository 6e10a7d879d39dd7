"""psycopg without colour: what both the async and the sync half build on."""
