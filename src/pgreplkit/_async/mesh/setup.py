"""The statements that prepare a role on the nodes of a mesh."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg.rows import DictRow
from psycopg.sql import SQL, Composed, Identifier

from pgreplkit._async.logical.applychecks import insist_on_role, to_hand_over
from pgreplkit._async.logical.applyshapes import read_partitions
from pgreplkit._async.mesh.sequences import sequences_of
from pgreplkit._async.wire.link import AsyncLink
from pgreplkit.catalog.logical import applying
from pgreplkit.catalog.mesh import members as sql
from pgreplkit.driver import statements as parts
from pgreplkit.plans.mesh.layout import publication_name
from pgreplkit.values.tablename import TableName, schemas_and_names


async def node_setup(
    link: AsyncLink, mesh: str, node: str, role: str, tables: Sequence[TableName]
) -> tuple[str, ...]:
    """Return the statements for one node.

    Raises: RoleNotFound.
    """
    await insist_on_role(link, role, node)
    operation, major = f"prepare the role {role!r}", link.version.major
    database, own = link.connection.info.dbname, Identifier(role).as_string(link.connection)
    asked = [role, *schemas_and_names(tables)]
    owns = await link.one(operation, sql.OWNS_TABLES, asked)
    publication = publication_name(mesh)
    published = await link.all(operation, sql.PUBLICATION_OWNER, [publication])
    return (
        *applying.publisher_setup_sql(role, []),
        *applying.setup_sql(
            role,
            major,
            database,
            tables,
            handed_over=await to_hand_over(link),
            triggers=True,
            partitions=await read_partitions(link, tables),
        ),
        # A mesh also moves origins, which single appliers do not.
        *applying.advance_sql(role, major),
        *(f"GRANT SELECT ON {name} TO {own}" for name in await sequences_of(link, tables)),
        *(
            statement.as_string(link.connection)
            for statement in _publication(
                link, publication, role, tables, published, owns_tables=owns["owns_all"]
            )
        ),
    )


def _publication(
    link: AsyncLink,
    publication: str,
    role: str,
    tables: Sequence[TableName],
    published: Sequence[DictRow],
    *,
    owns_tables: bool,
) -> list[Composed]:
    """Return the statements after which the role can drop the publication, and so leave."""
    if published:
        give = SQL(sql.GIVE_PUBLICATION).format(Identifier(publication), Identifier(role))
        return [give] if published[0]["is_of_superuser"] else []
    # A role that owns the tables creates the publication itself, in the plan.
    return [] if owns_tables else publishing(link, publication, tables, owner=role)


def publishing(
    link: AsyncLink, publication: str, tables: Sequence[TableName], *, owner: str | None = None
) -> list[Composed]:
    """Return the statements that create the publication, for another role if one is named."""
    # Partitions may differ between the nodes.
    options = sql.PUBLISHES + (sql.VIA_ROOT if link.has("publication.via_root") else "")
    if link.has("publication.generated"):
        options += sql.GENERATED
    name, listed = Identifier(publication), parts.published_list(link.require, tables)
    statements = [SQL(sql.CREATE_PUBLICATION).format(name, listed, SQL(options))]
    if owner is not None:
        statements.append(SQL(sql.GIVE_PUBLICATION).format(name, Identifier(owner)))
    return statements
