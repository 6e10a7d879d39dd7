"""The owners and privileges of a database's objects, as statements."""

import attrs

from pgreplkit.catalog.cluster.upgrade import OURS
from pgreplkit.catalog.features import has


def _depends(catalog: str, types: str) -> str:
    """Return the condition for an object that another one brings with it."""
    return f"""EXISTS (SELECT FROM pg_depend WHERE classid = '{catalog}'::regclass::oid
        AND objid = o.oid AND deptype IN ({types}) AND ('e' = deptype OR refclassid = classid))"""


def _global(catalog: str, kind: str, granted: str, prefix: str, acl: str) -> str:
    """Return the query for the objects of a catalog that are in no schema."""
    return f"""
        UNION ALL SELECT '{catalog}'::regclass::oid, o.oid, '{kind}', '{granted}',
            pg_catalog.quote_ident({prefix}name), {prefix}owner, {prefix}acl, {acl},
            o.oid >= 16384::oid AND NOT {_depends(catalog, "'e'")}, true
        FROM {catalog} AS o
    """


_UNCOPIED = ("DATABASE", "PARAMETER", "TABLESPACE")
_WRAPPER = "FOREIGN DATA WRAPPER"
_OBJECTS = f"""
    SELECT 'pg_class'::regclass::oid AS catalog, o.oid,
        CASE relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW'
            WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END
            AS kind,
        CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS granted,
        o.oid::regclass::text AS object, relowner AS owner, relacl AS acl,
        NULL::aclitem[] AS defaults,
        {OURS} AND NOT {_depends("pg_class", "'e'")}
            -- A sequence of a column has the owner of its table. Partitions depend on their table
            -- in the same way, and have owners of their own.
            AND NOT (relkind = 'S' AND {_depends("pg_class", "'a', 'i'")}) AS has_owner,
        {OURS} AS is_ours
    FROM pg_class o JOIN pg_namespace n ON n.oid = relnamespace
    WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND relpersistence <> 't'
        -- Objects of initdb whose privileges no one has changed are of no interest.
        AND ({OURS} OR relacl IS NOT NULL AND nspname = 'pg_catalog')
    UNION ALL
    SELECT 'pg_namespace'::regclass::oid, n.oid, 'SCHEMA', 'SCHEMA',
        pg_catalog.quote_ident(nspname),
        nspowner,
        -- The owner of the schema public depends on the version.
        nspacl, NULL, nspname <> 'public', true
    FROM pg_namespace n WHERE {OURS}
    UNION ALL
    SELECT 'pg_proc'::regclass::oid, o.oid, kind, kind, o.oid::regprocedure::text, proowner, proacl,
        pg_catalog.acldefault('f', proowner), {OURS}
            AND NOT {_depends("pg_proc", "'e', 'i'")}, {OURS}
    FROM pg_proc o JOIN pg_namespace n ON n.oid = pronamespace, LATERAL (SELECT
        -- FUNCTION stands for aggregates too; procedures exist from version 11 on.
        CASE pg_catalog.to_jsonb(o) ->> 'prokind'::text WHEN 'p' THEN 'PROCEDURE'
            ELSE 'FUNCTION' END AS kind)
        AS named
    WHERE {OURS} OR proacl IS NOT NULL AND nspname = 'pg_catalog'
    UNION ALL
    SELECT 'pg_type'::regclass::oid, o.oid, 'TYPE', 'TYPE', pg_catalog.format('%I.%I', nspname,
        typname), typowner,
        typacl, pg_catalog.acldefault('T', typowner), NOT {_depends("pg_type", "'e'")}, true
    FROM pg_type o JOIN pg_namespace n ON n.oid = typnamespace
    -- The types of rows and arrays have the privileges of others.
    WHERE {OURS} AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_type'::regclass::oid
        AND objid = o.oid AND deptype = 'i')
    {_global("pg_language", "LANGUAGE", "LANGUAGE", "lan", "pg_catalog.acldefault('l', lanowner)")}
    {_global("pg_foreign_server", "SERVER", "FOREIGN SERVER", "srv", "NULL")}
    {_global("pg_foreign_data_wrapper", _WRAPPER, _WRAPPER, "fdw", "NULL")}
    {_global("pg_tablespace", "TABLESPACE", "TABLESPACE", "spc", "NULL")}
"""
_PARAMETERS = """
        -- Settings belong to the superuser of initdb.
        UNION ALL SELECT 'PARAMETER', pg_catalog.quote_ident(parname), 10, '', paracl, NULL, NULL,
            true
        FROM pg_parameter_acl
"""
_SETTINGS = """
    UNION ALL SELECT 'PARAMETER ' || pg_catalog.quote_ident(name), NULL, '{}', false, false, false
    FROM pg_settings
"""
_LISTS = f"""
    WITH objects AS ({_OBJECTS}
        UNION ALL
        SELECT 'pg_database'::regclass::oid, d.oid, 'DATABASE', 'DATABASE', '{{}}', datdba, datacl,
            -- A superuser has the rights of an owner of any database.
            pg_catalog.acldefault('d', datdba), NOT rolsuper, true
        FROM pg_database d JOIN pg_roles r ON r.oid = datdba WHERE datname = current_database()
    ), lists AS (
        SELECT granted, object, owner, '' AS columns, coalesce(acl, defaults) AS acl, defaults,
            initprivs, is_ours
        FROM objects LEFT JOIN pg_init_privs
            ON objoid = objects.oid AND classoid = catalog AND objsubid = 0
            -- Those of the schema public depend on the version.
            AND catalog <> 'pg_namespace'::regclass::oid
        UNION ALL
        SELECT granted, object, owner, pg_catalog.format(' (%I)', attname), attacl, NULL,
            initprivs, is_ours
        FROM objects JOIN pg_attribute ON attrelid = objects.oid AND NOT attisdropped
        LEFT JOIN pg_init_privs
            ON objoid = attrelid AND classoid = catalog AND objsubid = attnum
        WHERE catalog = 'pg_class'::regclass::oid AND attacl IS NOT NULL
"""
_GRANTS = """
    ), globals AS (
        -- A list of all schemas replaces the default, and one of a schema adds to that.
        SELECT pg_catalog.concat('ALTER DEFAULT PRIVILEGES FOR ROLE ',
            pg_catalog.quote_ident(r.rolname),
                ' IN SCHEMA ' || pg_catalog.quote_ident(nspname)) AS prefix, rolname::text,
            r.oid AS owner,
            CASE defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES'
                WHEN 'f' THEN 'FUNCTIONS' WHEN 'T' THEN 'TYPES' WHEN 'n' THEN 'SCHEMAS'
                WHEN 'L' THEN 'LARGE OBJECTS' END AS objects, defaclacl AS acl,
            CASE WHEN defaclnamespace = 0::oid THEN
                pg_catalog.acldefault(CASE defaclobjtype WHEN 'S' THEN 's'
                    ELSE defaclobjtype END, r.oid)
                END AS defaults
        FROM pg_default_acl JOIN pg_roles r ON r.oid = defaclrole
        LEFT JOIN pg_namespace n ON n.oid = defaclnamespace
    ), grants AS (
        SELECT pg_catalog.concat_ws(' ', granted, object) AS object,
            pg_catalog.format('GRANT %s%s ON %s %s TO ', privilege_type, columns, granted, object)
                AS statement, grantee, NULL::text AS role, is_grantable,
            EXISTS (SELECT FROM pg_catalog.aclexplode(defaults) d WHERE d.grantee = a.grantee
                AND d.privilege_type = a.privilege_type) AS is_default,
            EXISTS (SELECT FROM pg_catalog.aclexplode(initprivs) i WHERE i.grantee = a.grantee
                AND i.privilege_type = a.privilege_type AND i.is_grantable >= a.is_grantable)
                AS is_initial
        FROM lists CROSS JOIN pg_catalog.aclexplode(acl) a WHERE a.grantee <> owner
        UNION ALL
        SELECT NULL, pg_catalog.format('%s GRANT %s ON %s TO ', prefix, privilege_type, objects),
            grantee,
            rolname, is_grantable, is_default, is_default
        FROM globals CROSS JOIN pg_catalog.aclexplode(acl) a, LATERAL (SELECT EXISTS (
            SELECT FROM pg_catalog.aclexplode(defaults) d WHERE d.grantee = a.grantee
                AND d.privilege_type = a.privilege_type) AS is_default) AS _
        WHERE a.grantee <> owner
    )
    SELECT object, pg_catalog.concat(statement, CASE WHEN grantee = 0::oid THEN 'PUBLIC'
            ELSE pg_catalog.quote_ident(pg_get_userbyid(grantee)) END) AS statement,
        pg_catalog.array_remove(ARRAY[role, CASE WHEN grantee <> 0::oid
            THEN pg_get_userbyid(grantee)::text END],
            NULL) AS roles,
        bool_or(is_grantable) AS is_grantable, bool_and(is_default) AS is_default,
        bool_and(is_initial) AS is_initial
    FROM grants GROUP BY object, statement, grantee, role
    UNION ALL
    SELECT pg_catalog.concat_ws(' ', granted, object), CASE WHEN has_owner THEN
            pg_catalog.format('ALTER %s %s OWNER TO %I', kind, object, pg_get_userbyid(owner)) END,
        ARRAY[pg_get_userbyid(owner)]::text[], false, false, false
    FROM objects
    UNION ALL
    -- Privileges of everyone that a new object has, and that were revoked.
    SELECT pg_catalog.concat_ws(' ', granted, object),
        pg_catalog.format('REVOKE %s ON %s %s FROM PUBLIC', privilege_type, granted, object), '{}',
        false, false, false
    FROM lists CROSS JOIN pg_catalog.aclexplode(defaults) d WHERE is_ours AND grantee = 0::oid
        AND NOT EXISTS (SELECT FROM pg_catalog.aclexplode(acl) a WHERE a.grantee = 0::oid
            AND a.privilege_type = d.privilege_type)
    UNION ALL
    SELECT NULL, pg_catalog.format('%s REVOKE %s ON %s FROM PUBLIC', prefix, privilege_type,
        objects),
        ARRAY[rolname]::text[], false, false, false
    FROM globals CROSS JOIN pg_catalog.aclexplode(defaults) d WHERE grantee = 0::oid
        AND NOT EXISTS (SELECT FROM pg_catalog.aclexplode(acl) a WHERE a.grantee = 0::oid
            AND a.privilege_type = d.privilege_type)
"""
ROLES = "SELECT rolname::text AS name FROM pg_roles"


def privileges(major: int) -> str:
    """Return the query for the privileges of the database and of all that a copy of it creates.

    It also has the privileges of the database, settings and tablespaces, which no copy creates, and
    those that were granted on objects of initdb and of extensions. {} stands for the name of the
    database. The names of other objects are full where the search_path is empty.
    """
    if not has("settings.grantable", major):
        return f"{_LISTS} {_GRANTS} ORDER BY 2"
    return f"{_LISTS} {_PARAMETERS} {_GRANTS} {_SETTINGS} ORDER BY 2"


@attrs.frozen(kw_only=True)
class Privilege:
    """An owner, a grant, or a default grant that was revoked."""

    object: str | None
    """None for default privileges."""
    statement: str | None
    """None for the owner of an object that gets another one or has that of its table."""
    roles: tuple[str, ...] = attrs.field(converter=tuple)
    """The roles that the statement names."""
    is_grantable: bool = False
    is_default: bool = False
    """Whether a new object has it."""
    is_initial: bool = False
    """Whether initdb or CREATE EXTENSION grants it."""

    @property
    def is_copied(self) -> bool:
        """Whether a copy of the schema with owners brings it along."""
        return self.object is None or self.object.split()[0] not in _UNCOPIED

    @property
    def is_custom(self) -> bool:
        """Whether it is one of a setting that a server need not know: such as of an extension."""
        return (
            self.object is not None
            and self.object.startswith("PARAMETER ")
            and ("." in self.object)
        )
