"""psycopg without colour: the base of both the async and the sync half."""

from pgreplkit.errors.extras import needs_extra

with needs_extra("binary", "psycopg"):
    import psycopg as psycopg
