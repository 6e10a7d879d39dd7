"""The objects that only their owner may drop, and that a node has for a mesh."""

from pgreplkit.catalog.logical.applytables import ASKED

NOT_OWNED = f"""
    WITH asked AS (SELECT c.oid {ASKED}), found (object, owner) AS (
        SELECT 'PUBLICATION ' || pg_catalog.quote_ident(pubname), pubowner
        FROM pg_catalog.pg_publication WHERE pubname = %s
        UNION ALL
        SELECT 'FUNCTION pgreplkit.' || pg_catalog.quote_ident(proname) || '()', proowner
        FROM pg_catalog.pg_proc
        JOIN asked ON proname IN ('bury_' || asked.oid::text, 'no_write_' || asked.oid::text)
        WHERE pronamespace = to_regnamespace('pgreplkit')::oid
        UNION ALL
        SELECT 'SEQUENCE pgreplkit.' || pg_catalog.quote_ident(relname), relowner
        FROM pg_catalog.pg_class JOIN pg_catalog.pg_replication_origin
            ON relname IN ('ended_' || roident::text, 'ended_at_' || roident::text)
        WHERE relnamespace = to_regnamespace('pgreplkit')::oid AND relkind = 'S'
            AND roname = ANY (%s::text[])
    )
    SELECT object, rolname AS owner FROM found JOIN pg_catalog.pg_roles AS r ON r.oid = owner
    WHERE NOT pg_catalog.pg_has_role(r.oid, 'USAGE') ORDER BY 1
"""
"""Not triggers, which are dropped with their functions, whoever owns the tables."""
