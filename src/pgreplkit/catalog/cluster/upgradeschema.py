"""The fingerprint of a schema: a hash for each object, to find DDL since an earlier time."""

from pgreplkit.catalog.cluster.upgrade import OURS
from pgreplkit.catalog.logical.fence import FUNCTION
from pgreplkit.catalog.view import description_of


def _own(catalog: str, oid: str) -> str:
    # The objects of initdb have smaller numbers, and may be in no schema.
    return f"""
        {oid} >= 16384::oid AND NOT EXISTS (SELECT FROM pg_depend
            WHERE classid = '{catalog}'::regclass::oid AND pg_depend.objid = {oid}
                AND deptype = 'e')
    """


def _privileges(acl: str, kind: str, owner: str) -> str:
    """Return the expression for the privileges that differ from the default ones.

    After a GRANT and its REVOKE, the default ones are written out; and they depend on the major
    version.
    """
    given = f"SELECT grantee, privilege_type, is_grantable FROM pg_catalog.aclexplode({acl})"
    default = f"""
        SELECT grantee, privilege_type, is_grantable
            FROM pg_catalog.aclexplode(pg_catalog.acldefault('{kind}', {owner}))
    """
    shown = (
        "pg_catalog.concat_ws(' ', sign, pg_get_userbyid(grantee), privilege_type, is_grantable)"
    )
    return f"""
        (SELECT pg_catalog.string_agg({shown}, ',' ORDER BY {shown}) FROM (
            (SELECT '+' AS sign, * FROM ({given} EXCEPT {default}) AS _)
            UNION ALL (SELECT '-', * FROM ({default} EXCEPT {given}) AS _)) AS changed
            WHERE {acl} IS NOT NULL)
    """


def _object(catalog: str, kind: str, name: str, definition: str) -> str:
    return f"""
        UNION ALL SELECT '{kind} ' || ({name})::text, pg_catalog.concat_ws(' ', {definition})
        FROM {catalog} AS o WHERE {_own(catalog, "o.oid")}
    """


_OWNER = "pg_get_userbyid({})".format
_OTHERS = (
    _object(
        "pg_cast",
        "cast",
        "pg_catalog.format('(%s as %s)', castsource::regtype, casttarget::regtype)",
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
        "pg_catalog.format('%I.%I', collnamespace::regnamespace, collname)",
        f"{_OWNER('collowner')}, collprovider, collcollate, collctype,"
        # These columns got their names in 15 and 17.
        " coalesce(pg_catalog.to_jsonb(o) ->> 'colllocale'::text,"
        " pg_catalog.to_jsonb(o) ->> 'colliculocale'::text)",
    )
    + _object(
        "pg_statistic_ext",
        "statistics",
        "pg_catalog.format('%I.%I', stxnamespace::regnamespace, stxname)",
        f"{_OWNER('stxowner')}, pg_get_statisticsobjdef(o.oid)",
    )
    + _object(
        "pg_ts_config",
        "text search configuration",
        "o.oid::regconfig",
        f"{_OWNER('cfgowner')}, (SELECT pg_catalog.string_agg("
        "pg_catalog.concat_ws(' ', maptokentype, mapseqno, mapdict::regdictionary),"
        " ',' ORDER BY maptokentype, mapseqno)"
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
        "pg_catalog.format('%I.%I of %s', opfnamespace::regnamespace, opfname, opfmethod)",
        f"{_OWNER('opfowner')}, (SELECT pg_catalog.string_agg("
        "pg_catalog.concat_ws(' ', amopstrategy, amopopr::regoperator),"
        " ',' ORDER BY amopstrategy, amopopr::regoperator::text)"
        " FROM pg_amop WHERE amopfamily = o.oid), (SELECT"
        " pg_catalog.string_agg(pg_catalog.concat_ws(' ', amprocnum, amproc::regproc),"
        " ',' ORDER BY amprocnum, amproc::regproc::text) FROM pg_amproc"
        " WHERE amprocfamily = o.oid)",
    )
    + _object(
        "pg_opclass",
        "operator class",
        "pg_catalog.format('%I.%I of %s', opcnamespace::regnamespace, opcname, opcmethod)",
        f"{_OWNER('opcowner')}, opcintype::regtype, opcdefault",
    )
    + _object(
        "pg_conversion",
        "conversion",
        "pg_catalog.format('%I.%I', connamespace::regnamespace, conname)",
        f"{_OWNER('conowner')}, conproc::regproc, condefault",
    )
    + _object(
        "pg_foreign_data_wrapper",
        "foreign-data wrapper",
        "pg_catalog.quote_ident(fdwname)",
        f"{_OWNER('fdwowner')}, fdwhandler::regproc, fdwoptions,"
        f" {_privileges('fdwacl', 'F', 'fdwowner')}",
    )
    + _object(
        "pg_foreign_server",
        "foreign server",
        "pg_catalog.quote_ident(srvname)",
        f"{_OWNER('srvowner')}, srvversion, srvoptions, {_privileges('srvacl', 'S', 'srvowner')}",
    )
    # Its options may have a password.
    + _object(
        "pg_user_mapping",
        "user mapping",
        "pg_catalog.format('of %s for %s', pg_get_userbyid(umuser),"
        " (SELECT srvname FROM pg_foreign_server WHERE pg_foreign_server.oid = umserver))",
        "''",
    )
    + _object("pg_language", "language", "pg_catalog.quote_ident(lanname)", _OWNER("lanowner"))
    + _object("pg_am", "access method", "pg_catalog.quote_ident(amname)", "amhandler::regproc")
    + _object(
        "pg_transform",
        "transform",
        "pg_catalog.concat(trftype::regtype, ' in ', (SELECT lanname FROM pg_language l"
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
            pg_catalog.format('%I.%I', n.nspname, c.relname) AS full_name
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE relpersistence <> 't' AND {OURS} AND {_own("pg_class", "c.oid")}
    ), objects (name, definition) AS (
        SELECT CASE WHEN relkind IN ('v', 'm') THEN 'columns of ' ELSE 'table ' END || full_name,
            pg_catalog.string_agg(pg_catalog.concat_ws(' ', attname,
                pg_catalog.format_type(atttypid, atttypmod), attnotnull,
                -- These columns exist from version 12 and 10 on.
                pg_catalog.to_jsonb(pg_attribute) ->> 'attgenerated'::text, attidentity, collname,
                    attoptions,
                -- Defaults name no columns: see catalog/logical/drift.py.
                attfdwoptions, pg_catalog.pg_get_expr(adbin,
                    CASE WHEN pg_catalog.to_jsonb(pg_attribute) ->> 'attgenerated'::text <> ''
                        THEN adrelid ELSE 0 END)), ',' ORDER BY attname)
        FROM relations JOIN pg_attribute ON attrelid = relations.relid AND attnum > 0
            AND NOT attisdropped
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        LEFT JOIN pg_collation ON pg_collation.oid = attcollation
        WHERE relkind IN ('r', 'p', 'f', 'c', 'v', 'm') GROUP BY 1
        UNION ALL SELECT 'options of ' || full_name, pg_catalog.concat_ws(' ',
            relpersistence, relreplident,
            reloptions, (SELECT ftoptions FROM pg_foreign_table WHERE ftrelid = relid))
        FROM relations WHERE relkind IN ('r', 'p', 'f', 'v', 'm')
        UNION ALL SELECT 'parents of ' || full_name, pg_catalog.concat_ws(' ',
            pg_catalog.string_agg(inhparent::regclass::text, ',' ORDER BY inhseqno),
            pg_catalog.pg_get_expr(relpartbound, relid))
        FROM relations JOIN pg_inherits ON inhrelid = relid
        WHERE relkind IN ('r', 'p', 'f') GROUP BY full_name, relid, relpartbound
        UNION ALL SELECT 'row level security of ' || full_name,
            pg_catalog.concat_ws(' ', relrowsecurity, relforcerowsecurity)
        FROM relations WHERE relkind IN ('r', 'p')
        UNION ALL SELECT pg_catalog.format('rule %I of %s', rulename, full_name),
            pg_catalog.concat_ws(' ', ev_enabled, pg_get_ruledef(pg_rewrite.oid))
        FROM pg_rewrite JOIN relations ON relations.relid = ev_class WHERE rulename <> '_RETURN'
        UNION ALL SELECT 'view ' || full_name, pg_get_viewdef(relid)
        FROM relations WHERE relkind IN ('v', 'm')
        UNION ALL SELECT 'privileges of ' || full_name, pg_catalog.concat_ws(' ',
            pg_get_userbyid(relowner),
            {_privileges("relacl", "r", "relowner")}, (SELECT pg_catalog.string_agg(
                attname::text || {_privileges("attacl", "c", "relowner")}, ',' ORDER BY attname)
                FROM pg_attribute WHERE attrelid = relid AND attacl IS NOT NULL
                AND NOT attisdropped))
        FROM relations WHERE relkind IN ('r', 'p', 'f', 'v', 'm')
        UNION ALL SELECT 'privileges of ' || full_name, pg_catalog.concat_ws(' ',
            pg_get_userbyid(relowner),
            {_privileges("relacl", "s", "relowner")}) FROM relations WHERE relkind = 'S'
        UNION ALL SELECT 'schema ' || pg_catalog.quote_ident(n.nspname),
            pg_catalog.concat_ws(' ', pg_get_userbyid(nspowner),
                {_privileges("nspacl", "n", "nspowner")})
        FROM pg_namespace n
        -- The schema public is older.
        WHERE {OURS} AND (n.nspname = 'public' OR {_own("pg_namespace", "n.oid")})
        -- Their versions differ with that of the server.
        UNION ALL SELECT 'extension ' || pg_catalog.quote_ident(extname), '' FROM pg_extension
        UNION ALL SELECT 'event trigger ' || pg_catalog.quote_ident(evtname),
            pg_catalog.concat_ws(' ', evtevent, evtfoid::regproc, evtenabled, evttags)
        FROM pg_event_trigger WHERE {_own("pg_event_trigger", "pg_event_trigger.oid")}
        UNION ALL SELECT pg_catalog.format('default privileges %s of %s in %s', defaclobjtype,
            pg_get_userbyid(defaclrole), coalesce(nspname, 'all schemas')), defaclacl::text
        FROM pg_default_acl LEFT JOIN pg_namespace ON pg_namespace.oid = defaclnamespace
        UNION ALL SELECT 'index ' || i.full_name, pg_get_indexdef(indexrelid)
        FROM pg_index JOIN relations i ON i.relid = indexrelid
        UNION ALL SELECT pg_catalog.format('constraint %I of %s', conname, full_name),
            -- DISABLE TRIGGER ALL disables foreign keys.
            pg_catalog.concat_ws(' ', pg_get_constraintdef(pg_constraint.oid), (SELECT
                pg_catalog.string_agg(tgenabled::text, '' ORDER BY tgenabled) FROM pg_trigger
                WHERE tgconstraint = pg_constraint.oid AND tgenabled <> 'O'))
        FROM pg_constraint JOIN relations ON relations.relid = conrelid WHERE contype <> 'n'
        UNION ALL SELECT pg_catalog.format('trigger %I of %s', tgname, full_name),
            pg_catalog.concat_ws(' ', tgenabled, pg_get_triggerdef(pg_trigger.oid))
        FROM pg_trigger JOIN relations ON relations.relid = tgrelid
        WHERE NOT tgisinternal AND tgfoid NOT IN (SELECT oid FROM pg_proc
            WHERE proname = '{FUNCTION}')
        UNION ALL SELECT pg_catalog.format('policy %I of %s', polname, full_name),
            pg_catalog.concat_ws(' ', polcmd, polroles::regrole[],
                pg_catalog.pg_get_expr(polqual, polrelid),
                pg_catalog.pg_get_expr(polwithcheck, polrelid))
        FROM pg_policy JOIN relations ON relations.relid = polrelid
        UNION ALL SELECT 'sequence ' || full_name, pg_catalog.concat_ws(' ',
            pg_catalog.format_type(seqtypid, NULL),
            seqincrement, seqmin, seqmax, seqstart, seqcache, seqcycle, (SELECT
                pg_catalog.format('%s.%s', refobjid::regclass, refobjsubid) FROM pg_depend
                WHERE classid = 'pg_class'::regclass::oid AND objid = relid AND refobjsubid > 0
                    AND deptype IN ('a', 'i')))
        FROM pg_sequence JOIN relations ON relations.relid = seqrelid
        UNION ALL SELECT 'function ' || p.oid::regprocedure::text, pg_catalog.concat_ws(' ',
            pg_get_userbyid(proowner), pg_catalog.format_type(prorettype, NULL),
            pg_get_function_arguments(p.oid), provolatile, prosecdef, proisstrict, proparallel,
            proleakproof, procost, prorows, proconfig, prosrc,
            pg_catalog.to_jsonb(p) ->> 'prosqlbody'::text,
            (SELECT pg_catalog.concat_ws(' ', aggtransfn, aggfinalfn, aggtranstype::regtype,
                agginitval)
                FROM pg_aggregate WHERE aggfnoid::oid = p.oid),
            {_privileges("proacl", "f", "proowner")})
        FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace
        WHERE {OURS} AND {_own("pg_proc", "p.oid")}
        UNION ALL SELECT 'type ' || t.oid::regtype::text, pg_catalog.concat_ws(' ',
            pg_get_userbyid(typowner), {_privileges("typacl", "T", "typowner")},
            pg_catalog.format_type(typbasetype, typtypmod), typnotnull, typdefault, typisdefined,
            (SELECT pg_catalog.format_type(rngsubtype, NULL) FROM pg_range WHERE rngtypid = t.oid),
            (SELECT pg_catalog.string_agg(enumlabel, ',' ORDER BY enumsortorder) FROM pg_enum
                WHERE enumtypid = t.oid),
            (SELECT pg_catalog.string_agg(pg_get_constraintdef(oid), ',' ORDER BY conname)
                FROM pg_constraint WHERE contypid = t.oid AND contype <> 'n'))
        FROM pg_type t JOIN pg_namespace n ON n.oid = typnamespace
        WHERE {OURS} AND {_own("pg_type", "t.oid")}
            -- Not those of tables and arrays, nor the multiranges.
            AND typtype <> 'm' AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = t.oid)
            AND NOT EXISTS (SELECT FROM pg_class WHERE pg_class.oid = typrelid AND relkind <> 'c')
        {_OTHERS}
    )
    SELECT name, pg_catalog.left(md5(definition), 8) AS hash FROM objects ORDER BY 1
"""
KEPT = f"""
    SELECT {description_of("pg_publication.oid", "pg_publication")} AS kept FROM pg_publication
    WHERE pubname = %s::text
"""
KEEP = "COMMENT ON PUBLICATION {} IS {}"
