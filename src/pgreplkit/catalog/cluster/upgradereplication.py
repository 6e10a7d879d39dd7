"""The parts of an upgrade's publications that PostgreSQL does not list as their state."""

LIMITED = """
    SELECT pubname::text AS publication, nspname AS schema, relname AS name
    FROM pg_publication_rel r JOIN pg_publication p ON p.oid = prpubid
    JOIN pg_class c ON c.oid = prrelid JOIN pg_namespace n ON n.oid = relnamespace
    WHERE pubname = ANY (%s::text[])
        -- These columns exist from version 15 on.
        AND (to_jsonb(r) ->> 'prqual' IS NOT NULL OR to_jsonb(r) ->> 'prattrs' IS NOT NULL)
    ORDER BY 1, 2, 3
"""
"""The tables of publications with a row filter or a column list."""
