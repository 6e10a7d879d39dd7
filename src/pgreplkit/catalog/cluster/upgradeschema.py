"""The fingerprint of a schema: a hash for each object, to find DDL since an earlier time."""

from pgreplkit.catalog.cluster.upgrade import OURS
from pgreplkit.catalog.logical.fence import FUNCTION


def _own(catalog: str, oid: str) -> str:
    # The objects of initdb have smaller numbers, and may be in no schema.
    return f"""
        {oid} >= 16384 AND NOT EXISTS (SELECT FROM pg_depend
            WHERE classid = '{catalog}'::regclass AND pg_depend.objid = {oid} AND deptype = 'e')
    """


def _privileges(acl: str, kind: str, owner: str) -> str:
    """Return the expression for the privileges that differ from the default ones.

    After a GRANT and its REVOKE, the default ones are written out; and they depend on the major
    version.
    """
    given = f"SELECT grantee, privilege_type, is_grantable FROM aclexplode({acl})"
    default = f"""
        SELECT grantee, privilege_type, is_grantable FROM aclexplode(acldefault('{kind}', {owner}))
    """
    shown = "concat_ws(' ', sign, pg_get_userbyid(grantee), privilege_type, is_grantable)"
    return f"""
        (SELECT string_agg({shown}, ',' ORDER BY {shown}) FROM (
            (SELECT '+' AS sign, * FROM ({given} EXCEPT {default}) AS _)
            UNION ALL (SELECT '-', * FROM ({default} EXCEPT {given}) AS _)) AS changed
            WHERE {acl} IS NOT NULL)
    """


def _object(catalog: str, kind: str, name: str, definition: str) -> str:
    return f"""
        UNION ALL SELECT '{kind} ' || {name}, concat_ws(' ', {definition})
        FROM {catalog} AS o WHERE {_own(catalog, "o.oid")}
    """


_OWNER = "pg_get_userbyid({})".format
_OTHERS = (
    _object(
        "pg_cast",
        "cast",
        "format('(%s as %s)', castsource::regtype, casttarget::regtype)",
        "castfunc::regprocedure, castcontext, castmethod",
    )
    + _object(
        "pg_operator",
        "operator",
        "o.oid::regoperator",
        f"{_OWNER('oprowner')}, oprresult::regtype, oprcode::regproc, oprcom::regoperator,"
        " oprnegate::regoperator, oprrest::regproc, oprjoin::regproc, oprcanmerge, oprcanhash",
    )
    + _object(
        "pg_collation",
        "collation",
        "format('%I.%I', collnamespace::regnamespace, collname)",
        f"{_OWNER('collowner')}, collprovider, collcollate, collctype,"
        # These columns got their names in 15 and 17.
        " coalesce(to_jsonb(o) ->> 'colllocale', to_jsonb(o) ->> 'colliculocale')",
    )
    + _object(
        "pg_statistic_ext",
        "statistics",
        "format('%I.%I', stxnamespace::regnamespace, stxname)",
        f"{_OWNER('stxowner')}, pg_get_statisticsobjdef(o.oid)",
    )
    + _object(
        "pg_ts_config",
        "text search configuration",
        "o.oid::regconfig",
        f"{_OWNER('cfgowner')}, (SELECT string_agg(concat_ws(' ', maptokentype, mapseqno,"
        " mapdict::regdictionary), ',' ORDER BY maptokentype, mapseqno)"
        " FROM pg_ts_config_map WHERE mapcfg = o.oid)",
    )
    + _object(
        "pg_ts_dict",
        "text search dictionary",
        "o.oid::regdictionary",
        f"{_OWNER('dictowner')}, dictinitoption",
    )
    + _object(
        "pg_opfamily",
        "operator family",
        "format('%I.%I of %s', opfnamespace::regnamespace, opfname, opfmethod)",
        f"{_OWNER('opfowner')}, (SELECT string_agg(concat_ws(' ', amopstrategy,"
        " amopopr::regoperator), ',' ORDER BY amopstrategy, amopopr::regoperator::text)"
        " FROM pg_amop WHERE amopfamily = o.oid), (SELECT string_agg(concat_ws(' ', amprocnum,"
        " amproc::regproc), ',' ORDER BY amprocnum, amproc::regproc::text) FROM pg_amproc"
        " WHERE amprocfamily = o.oid)",
    )
    + _object(
        "pg_opclass",
        "operator class",
        "format('%I.%I of %s', opcnamespace::regnamespace, opcname, opcmethod)",
        f"{_OWNER('opcowner')}, opcintype::regtype, opcdefault",
    )
    + _object(
        "pg_conversion",
        "conversion",
        "format('%I.%I', connamespace::regnamespace, conname)",
        f"{_OWNER('conowner')}, conproc::regproc, condefault",
    )
    + _object(
        "pg_foreign_data_wrapper",
        "foreign-data wrapper",
        "quote_ident(fdwname)",
        f"{_OWNER('fdwowner')}, fdwhandler::regproc, fdwoptions,"
        f" {_privileges('fdwacl', 'F', 'fdwowner')}",
    )
    + _object(
        "pg_foreign_server",
        "foreign server",
        "quote_ident(srvname)",
        f"{_OWNER('srvowner')}, srvversion, srvoptions, {_privileges('srvacl', 'S', 'srvowner')}",
    )
    # Its options may have a password.
    + _object(
        "pg_user_mapping",
        "user mapping",
        "format('of %s for %s', pg_get_userbyid(umuser),"
        " (SELECT srvname FROM pg_foreign_server WHERE pg_foreign_server.oid = umserver))",
        "''",
    )
    + _object("pg_language", "language", "quote_ident(lanname)", _OWNER("lanowner"))
    + _object("pg_am", "access method", "quote_ident(amname)", "amhandler::regproc")
    + _object(
        "pg_transform",
        "transform",
        "concat(trftype::regtype, ' in ', (SELECT lanname FROM pg_language l"
        " WHERE l.oid = trflang))",
        "trffromsql::regproc, trftosql::regproc",
    )
)

# Attributes and sources, where the text of a definition depends on the major version. Storage and
# statistics of columns are left out, and so are comments.
FINGERPRINT = f"""
    WITH relations AS (
        SELECT c.oid AS relid, relkind, relowner, relacl, relrowsecurity, relforcerowsecurity,
            reloptions, relreplident, relpersistence, relpartbound,
            format('%I.%I', n.nspname, c.relname) AS full_name
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE relpersistence <> 't' AND {OURS} AND {_own("pg_class", "c.oid")}
    ), objects (name, definition) AS (
        SELECT CASE WHEN relkind IN ('v', 'm') THEN 'columns of ' ELSE 'table ' END || full_name,
            string_agg(concat_ws(' ', attname, format_type(atttypid, atttypmod), attnotnull,
                -- These columns exist from version 12 and 10 on.
                to_jsonb(pg_attribute) ->> 'attgenerated', attidentity, collname, attoptions,
                -- Defaults name no columns: see catalog/logical/drift.py.
                attfdwoptions, pg_get_expr(adbin, CASE WHEN to_jsonb(pg_attribute)
                    ->> 'attgenerated' <> '' THEN adrelid ELSE 0 END)), ',' ORDER BY attname)
        FROM relations JOIN pg_attribute ON attrelid = relations.relid AND attnum > 0
            AND NOT attisdropped
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        LEFT JOIN pg_collation ON pg_collation.oid = attcollation
        WHERE relkind IN ('r', 'p', 'f', 'c', 'v', 'm') GROUP BY 1
        UNION ALL SELECT 'options of ' || full_name, concat_ws(' ', relpersistence, relreplident,
            reloptions, (SELECT ftoptions FROM pg_foreign_table WHERE ftrelid = relid))
        FROM relations WHERE relkind IN ('r', 'p', 'f', 'v', 'm')
        UNION ALL SELECT 'parents of ' || full_name, concat_ws(' ',
            string_agg(inhparent::regclass::text, ',' ORDER BY inhseqno),
            pg_get_expr(relpartbound, relid))
        FROM relations JOIN pg_inherits ON inhrelid = relid
        WHERE relkind IN ('r', 'p', 'f') GROUP BY full_name, relid, relpartbound
        UNION ALL SELECT 'row level security of ' || full_name,
            concat_ws(' ', relrowsecurity, relforcerowsecurity)
        FROM relations WHERE relkind IN ('r', 'p')
        UNION ALL SELECT format('rule %I of %s', rulename, full_name),
            concat_ws(' ', ev_enabled, pg_get_ruledef(pg_rewrite.oid))
        FROM pg_rewrite JOIN relations ON relations.relid = ev_class WHERE rulename <> '_RETURN'
        UNION ALL SELECT 'view ' || full_name, pg_get_viewdef(relid)
        FROM relations WHERE relkind IN ('v', 'm')
        UNION ALL SELECT 'privileges of ' || full_name, concat_ws(' ', pg_get_userbyid(relowner),
            {_privileges("relacl", "r", "relowner")}, (SELECT string_agg(
                attname || {_privileges("attacl", "c", "relowner")}, ',' ORDER BY attname)
                FROM pg_attribute WHERE attrelid = relid AND attacl IS NOT NULL
                AND NOT attisdropped))
        FROM relations WHERE relkind IN ('r', 'p', 'f', 'v', 'm')
        UNION ALL SELECT 'privileges of ' || full_name, concat_ws(' ', pg_get_userbyid(relowner),
            {_privileges("relacl", "s", "relowner")}) FROM relations WHERE relkind = 'S'
        UNION ALL SELECT 'schema ' || quote_ident(n.nspname),
            concat_ws(' ', pg_get_userbyid(nspowner), {_privileges("nspacl", "n", "nspowner")})
        FROM pg_namespace n
        -- The schema public is older.
        WHERE {OURS} AND (n.nspname = 'public' OR {_own("pg_namespace", "n.oid")})
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
            -- DISABLE TRIGGER ALL disables foreign keys.
            concat_ws(' ', pg_get_constraintdef(pg_constraint.oid), (SELECT
                string_agg(tgenabled::text, '' ORDER BY tgenabled) FROM pg_trigger
                WHERE tgconstraint = pg_constraint.oid AND tgenabled <> 'O'))
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
            seqincrement, seqmin, seqmax, seqstart, seqcache, seqcycle, (SELECT
                format('%s.%s', refobjid::regclass, refobjsubid) FROM pg_depend
                WHERE classid = 'pg_class'::regclass AND objid = relid AND refobjsubid > 0
                    AND deptype IN ('a', 'i')))
        FROM pg_sequence JOIN relations ON relations.relid = seqrelid
        UNION ALL SELECT 'function ' || p.oid::regprocedure::text, concat_ws(' ',
            pg_get_userbyid(proowner), format_type(prorettype, NULL),
            pg_get_function_arguments(p.oid), provolatile, prosecdef, proisstrict, proparallel,
            proleakproof, procost, prorows, proconfig, prosrc, to_jsonb(p) ->> 'prosqlbody',
            (SELECT concat_ws(' ', aggtransfn, aggfinalfn, aggtranstype::regtype, agginitval)
                FROM pg_aggregate WHERE aggfnoid = p.oid),
            {_privileges("proacl", "f", "proowner")})
        FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace
        WHERE {OURS} AND {_own("pg_proc", "p.oid")}
        UNION ALL SELECT 'type ' || t.oid::regtype::text, concat_ws(' ',
            pg_get_userbyid(typowner), {_privileges("typacl", "T", "typowner")},
            format_type(typbasetype, typtypmod), typnotnull, typdefault, typisdefined,
            (SELECT format_type(rngsubtype, NULL) FROM pg_range WHERE rngtypid = t.oid),
            (SELECT string_agg(enumlabel, ',' ORDER BY enumsortorder) FROM pg_enum
                WHERE enumtypid = t.oid),
            (SELECT string_agg(pg_get_constraintdef(oid), ',' ORDER BY conname)
                FROM pg_constraint WHERE contypid = t.oid AND contype <> 'n'))
        FROM pg_type t JOIN pg_namespace n ON n.oid = typnamespace
        WHERE {OURS} AND {_own("pg_type", "t.oid")}
            -- Not those of tables and arrays, nor the multiranges.
            AND typtype <> 'm' AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = t.oid)
            AND NOT EXISTS (SELECT FROM pg_class WHERE pg_class.oid = typrelid AND relkind <> 'c')
        {_OTHERS}
    )
    SELECT name, left(md5(definition), 8) AS hash FROM objects ORDER BY 1
"""
KEPT = """
    SELECT obj_description(oid, 'pg_publication') AS kept FROM pg_publication
    WHERE pubname = %s::text
"""
KEEP = "COMMENT ON PUBLICATION {} IS {}"
