"""psycopg without colour: the base of both the async and the sync half."""
