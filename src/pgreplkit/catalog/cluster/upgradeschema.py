"""The fingerprint of a schema: a hash for each object, to find DDL since an earlier time."""

from pgreplkit.catalog.logical.fence import FUNCTION

_OURS = f"""
    n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    AND NOT EXISTS (SELECT FROM pg_proc WHERE pronamespace = n.oid AND proname = '{FUNCTION}')
"""


def _own(catalog: str, oid: str) -> str:
    return f"""
        NOT EXISTS (SELECT FROM pg_depend WHERE classid = '{catalog}'::regclass
            AND pg_depend.objid = {oid} AND deptype = 'e')
    """


# Attributes and sources, where the text of a definition depends on the major version. Defaults of
# the privileges are NULL, and stay so.
FINGERPRINT = f"""
    WITH relations AS (
        SELECT c.oid AS relid, relkind, relowner, relacl, relrowsecurity, relforcerowsecurity,
            format('%I.%I', n.nspname, c.relname) AS full_name
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE relpersistence <> 't' AND {_OURS} AND {_own("pg_class", "c.oid")}
    ), objects (name, definition) AS (
        SELECT 'table ' || full_name, string_agg(concat_ws(' ', attname,
            format_type(atttypid, atttypmod), attnotnull, attidentity, collname,
            pg_get_expr(adbin, adrelid)), ',' ORDER BY attname)
        FROM relations JOIN pg_attribute ON attrelid = relations.relid AND attnum > 0
            AND NOT attisdropped
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        LEFT JOIN pg_collation ON pg_collation.oid = attcollation
        WHERE relkind IN ('r', 'p', 'f', 'c') GROUP BY 1
        UNION ALL SELECT 'row level security of ' || full_name,
            concat_ws(' ', relrowsecurity, relforcerowsecurity)
        FROM relations WHERE relkind IN ('r', 'p')
        UNION ALL SELECT format('rule %I of %s', rulename, full_name),
            concat_ws(' ', ev_enabled, pg_get_ruledef(pg_rewrite.oid))
        FROM pg_rewrite JOIN relations ON relations.relid = ev_class WHERE rulename <> '_RETURN'
        UNION ALL SELECT 'view ' || full_name, pg_get_viewdef(relid)
        FROM relations WHERE relkind IN ('v', 'm')
        UNION ALL SELECT 'privileges of ' || full_name,
            concat_ws(' ', pg_get_userbyid(relowner), relacl, (SELECT string_agg(
                concat_ws(' ', attname, attacl), ',' ORDER BY attname) FROM pg_attribute
                WHERE attrelid = relid AND attacl IS NOT NULL AND NOT attisdropped))
        FROM relations WHERE relkind IN ('r', 'p', 'f', 'v', 'm', 'S')
        UNION ALL SELECT 'schema ' || quote_ident(n.nspname),
            concat_ws(' ', pg_get_userbyid(nspowner), nspacl)
        FROM pg_namespace n WHERE {_OURS} AND {_own("pg_namespace", "n.oid")}
        -- Their versions differ with that of the server.
        UNION ALL SELECT 'extension ' || quote_ident(extname), '' FROM pg_extension
        UNION ALL SELECT 'event trigger ' || quote_ident(evtname),
            concat_ws(' ', evtevent, evtfoid::regproc, evtenabled, evttags)
        FROM pg_event_trigger WHERE {_own("pg_event_trigger", "pg_event_trigger.oid")}
        UNION ALL SELECT format('default privileges %s of %s in %s', defaclobjtype,
            pg_get_userbyid(defaclrole), coalesce(nspname, 'all schemas')), defaclacl::text
        FROM pg_default_acl LEFT JOIN pg_namespace ON pg_namespace.oid = defaclnamespace
        UNION ALL SELECT 'index ' || i.full_name, pg_get_indexdef(indexrelid)
        FROM pg_index JOIN relations i ON i.relid = indexrelid
        UNION ALL SELECT format('constraint %I of %s', conname, full_name),
            pg_get_constraintdef(pg_constraint.oid)
        FROM pg_constraint JOIN relations ON relations.relid = conrelid WHERE contype <> 'n'
        UNION ALL SELECT format('trigger %I of %s', tgname, full_name),
            concat_ws(' ', tgenabled, pg_get_triggerdef(pg_trigger.oid))
        FROM pg_trigger JOIN relations ON relations.relid = tgrelid
        WHERE NOT tgisinternal AND tgfoid NOT IN (SELECT oid FROM pg_proc
            WHERE proname = '{FUNCTION}')
        UNION ALL SELECT format('policy %I of %s', polname, full_name),
            concat_ws(' ', polcmd, polroles::regrole[], pg_get_expr(polqual, polrelid),
                pg_get_expr(polwithcheck, polrelid))
        FROM pg_policy JOIN relations ON relations.relid = polrelid
        UNION ALL SELECT 'sequence ' || full_name, concat_ws(' ', format_type(seqtypid, NULL),
            seqincrement, seqmin, seqmax, seqcycle)
        FROM pg_sequence JOIN relations ON relations.relid = seqrelid
        UNION ALL SELECT 'function ' || p.oid::regprocedure::text, concat_ws(' ',
            pg_get_userbyid(proowner), format_type(prorettype, NULL), provolatile, prosecdef,
            proconfig, prosrc, proacl)
        FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace
        WHERE {_OURS} AND {_own("pg_proc", "p.oid")}
        UNION ALL SELECT 'type ' || t.oid::regtype::text, concat_ws(' ',
            pg_get_userbyid(typowner), typacl, format_type(typbasetype, typtypmod), typnotnull,
            typdefault, (SELECT format_type(rngsubtype, NULL) FROM pg_range WHERE rngtypid = t.oid),
            (SELECT string_agg(enumlabel, ',' ORDER BY enumsortorder) FROM pg_enum
                WHERE enumtypid = t.oid),
            (SELECT string_agg(pg_get_constraintdef(oid), ',' ORDER BY conname)
                FROM pg_constraint WHERE contypid = t.oid AND contype <> 'n'))
        FROM pg_type t JOIN pg_namespace n ON n.oid = typnamespace
        WHERE typtype IN ('d', 'e', 'r') AND {_OURS} AND {_own("pg_type", "t.oid")}
    )
    SELECT name, left(md5(definition), 8) AS hash FROM objects ORDER BY 1
"""
KEPT = """
    SELECT obj_description(oid, 'pg_publication') AS kept FROM pg_publication
    WHERE pubname = %s::text
"""
KEEP = "COMMENT ON PUBLICATION {} IS {}"
