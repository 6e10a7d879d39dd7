"""The tables of an upgrade's publications and subscriptions: filters, and marks of their copies."""

from pgreplkit.catalog.logical.fence import FUNCTION

LIMITED = """
    SELECT pubname::text AS publication, nspname AS schema, relname AS name
    FROM pg_publication_rel r JOIN pg_publication p ON p.oid = prpubid
    JOIN pg_class c ON c.oid = prrelid JOIN pg_namespace n ON n.oid = relnamespace
    WHERE pubname = ANY (%s::text[])
        -- These columns exist from version 15 on.
        AND (pg_catalog.to_jsonb(r) ->> 'prqual'::text IS NOT NULL
            OR pg_catalog.to_jsonb(r) ->> 'prattrs'::text IS NOT NULL)
    ORDER BY 1, 2, 3
"""
"""The tables of publications with a row filter or a column list."""
COPIES = """
    SELECT nspname AS schema, relname AS name, mark FROM (
        -- Before 12, oid is a hidden column.
        SELECT prrelid AS relid, pg_catalog.concat_ws(' ', r.oid, p.xmin) AS mark
        FROM pg_publication_rel r JOIN pg_publication p ON p.oid = prpubid
        WHERE pubname = ANY (%s::text[])
        UNION ALL SELECT srrelid, coalesce(srsublsn::text, '')
        FROM pg_subscription_rel JOIN pg_subscription s ON s.oid = srsubid
        WHERE subname = ANY (%s::text[])) AS marked
    JOIN pg_class c ON c.oid = relid JOIN pg_namespace n ON n.oid = relnamespace
"""
"""A mark of each table of publications, which changes when it is removed and added again, and when
someone alters the publication; and one of each table of subscriptions, which changes when it is
copied, and is empty for a table that never was."""
ADDED_LATER = """
    SELECT pubname::text AS publication, nspname AS schema, relname AS name
    FROM pg_publication_rel r JOIN pg_publication p ON p.oid = prpubid
    JOIN pg_class c ON c.oid = prrelid JOIN pg_namespace n ON n.oid = relnamespace
    WHERE pubname = ANY (%s::text[]) AND r.xmin <> p.xmin ORDER BY 1, 2, 3
"""
"""The tables of publications that were added since they were created, or altered."""
UNLOGGED = """
    SELECT nspname AS schema, relname AS name
    FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
    WHERE relkind = 'r' AND relpersistence = 'u' ORDER BY 1, 2
"""
FIRING = f"""
    SELECT nspname AS schema, relname AS name, pg_catalog.quote_ident(tgname) AS trigger,
        -- As in the fingerprint of the schema.
        pg_catalog.format('trigger %I of %I.%I', tgname, nspname, relname) AS object
    FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid
    JOIN pg_namespace n ON n.oid = relnamespace JOIN pg_proc ON pg_proc.oid = tgfoid
    WHERE tgenabled IN ('A', 'R') AND NOT tgisinternal AND proname <> '{FUNCTION}' ORDER BY 1, 2, 3
"""
"""Triggers that fire for replicated changes, without those of a fence."""
