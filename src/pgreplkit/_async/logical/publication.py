"""AsyncPublication: what a database publishes, and how that is changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from psycopg.sql import SQL, Composable, Identifier

from pgreplkit._async.wire.link import AsyncLink
from pgreplkit.catalog.logical.publication import (
    ALTER_PUBLICATION,
    CREATE_PUBLICATION,
    DROP_PUBLICATION,
    FOR_SCOPE,
    LIMITED_TABLES,
    ONE_PUBLICATION,
    PUBLISHED_SEQUENCES,
    SCOPE_SCHEMAS,
    SCOPE_TABLES,
    SET_OPTIONS,
    TRY_DELETE,
    TRY_UPDATE,
    WITH_OPTIONS,
    AnyPublished,
    GeneratedColumns,
    Operation,
    PublicationState,
    PublishedTable,
    published_tables,
)
from pgreplkit.catalog.logical.replicaidentity import (
    NAMED_TABLES,
    ReplicaIdentity,
    identities,
    identity_in,
    written_tables,
)
from pgreplkit.catalog.view import table_in
from pgreplkit.driver import statements as parts
from pgreplkit.driver.failures import (
    DUPLICATE_OBJECT,
    INVALID_COLUMN_REFERENCE,
    READ_ONLY_TRANSACTION,
    UNDEFINED_OBJECT,
    UNDEFINED_TABLE,
)
from pgreplkit.errors import (
    AlreadyExists,
    NotAPrimary,
    PublicationNotFound,
    ReplicaIdentityMissing,
    ServerError,
    TableNotFound,
)
from pgreplkit.values.tablename import AnyTable, TableName

_MEANING = {
    DUPLICATE_OBJECT: AlreadyExists,
    UNDEFINED_OBJECT: PublicationNotFound,
    UNDEFINED_TABLE: TableNotFound,
    READ_ONLY_TRANSACTION: NotAPrimary,
}


class _Refused(ServerError):
    """The server would not execute it."""


class AsyncPublication:
    """A publication: its ``state`` when it was last read, and what can be done to it.

    Made by ``publication``, ``publications`` and ``create_publication`` of a primary. Each change
    is made whole or not at all, waits ``timeout`` seconds for locks at most (10 unless told), and
    needs the publication's owner.
    """

    def __init__(self, link: AsyncLink, state: PublicationState) -> None:
        self._link = link
        self.state: PublicationState = state

    @property
    def name(self) -> str:
        """Its name."""
        return self.state.pubname

    async def refresh(self) -> AsyncPublication:
        """Read its state again; gives the publication itself.

        Raises: PublicationNotFound.  Source: pg_publication.
        """
        self.state = await read_publication(self._link, self.name)
        return self

    async def tables(self) -> list[PublishedTable]:
        """The tables that it publishes, as the server expands them: of schemas, and partitions.

        Source: pg_publication_tables.
        """
        return await read_published(self._link, [self.name])

    async def sequences(self) -> list[TableName]:
        """The sequences that subscribers can take over.

        Raises: UnsupportedByServer before 19.  Source: pg_publication_sequences.
        """
        self._link.require("publication.all_sequences")
        records = await self._link.all("read the sequences", PUBLISHED_SEQUENCES, [self.name])
        return [table_in(record) for record in records]

    async def add_tables(
        self, *tables: AnyPublished, force: bool = False, timeout: float = 10.0
    ) -> None:
        """Publish these tables too.

        Raises: ReplicaIdentityMissing when UPDATE or DELETE would fail in one of them from then
        on, unless ``force``; TableNotFound; AlreadyExists for one that is in it;
        UnsupportedByServer before 15 for columns and ``where``; StatementTimeout.
        Needs: the tables' owner.  Source: ALTER PUBLICATION … ADD TABLE.
        """
        await self._alter(
            "ADD TABLE", parts.published_list(self._link.require, tables), timeout, force=force
        )

    async def set_tables(
        self, *tables: AnyPublished, force: bool = False, timeout: float = 10.0
    ) -> None:
        """Publish these tables, and no others: schemas that were published are not any more.

        Raises and needs: as ``add_tables``.  Source: ALTER PUBLICATION … SET TABLE.
        """
        await self._alter(
            "SET TABLE", parts.published_list(self._link.require, tables), timeout, force=force
        )

    async def drop_tables(self, *tables: AnyTable, timeout: float = 10.0) -> None:
        """Do not publish these tables any more. Subscribers keep what they have of them.

        Raises: PublicationNotFound when one is not in it; TableNotFound; StatementTimeout.
        Source: ALTER PUBLICATION … DROP TABLE.
        """
        names = parts.published_list(
            self._link.require, [PublishedTable(table) for table in tables]
        )
        await self._alter("DROP TABLE", names, timeout, force=True)

    async def add_schemas(self, *schemas: str, force: bool = False, timeout: float = 10.0) -> None:
        """Publish all tables of these schemas too, those that are yet to come among them.

        Raises: UnsupportedByServer before 15; and as ``add_tables``.
        Needs: superuser.  Source: ALTER PUBLICATION … ADD TABLES IN SCHEMA.
        """
        await self._schemas("ADD", schemas, timeout, force=force)

    async def set_schemas(self, *schemas: str, force: bool = False, timeout: float = 10.0) -> None:
        """Publish all tables of these schemas, and nothing else.

        Raises and needs: as ``add_schemas``.  Source: ALTER PUBLICATION … SET TABLES IN SCHEMA.
        """
        await self._schemas("SET", schemas, timeout, force=force)

    async def drop_schemas(self, *schemas: str, timeout: float = 10.0) -> None:
        """Do not publish these schemas as a whole any more.

        Raises: UnsupportedByServer before 15; PublicationNotFound when one is not in it.
        Source: ALTER PUBLICATION … DROP TABLES IN SCHEMA.
        """
        await self._schemas("DROP", schemas, timeout, force=True)

    async def set_all(
        self,
        *,
        tables: bool = False,
        except_tables: Iterable[AnyTable] = (),
        sequences: bool = False,
        force: bool = False,
        timeout: float = 10.0,
    ) -> None:
        """Publish all tables of the database but ``except_tables``, all its sequences, or both.

        It is what is given then and nothing else: what it left out before is published again. A
        partition cannot be left out by itself, only with its partitioned table.

        Raises: UnsupportedByServer before 19; ServerError when it publishes single tables or
        schemas; and as ``add_tables``.
        Needs: superuser.  Source: ALTER PUBLICATION … SET ALL TABLES.
        """
        self._link.require("publication.set_all")
        scope = parts.whole_database(
            self._link.require,
            all_tables=tables,
            except_tables=except_tables,
            all_sequences=sequences,
        )
        if not scope:
            raise ValueError("neither tables nor sequences are given")
        await self._alter("SET", SQL(", ").join(scope), timeout, force=force, grant="SUPERUSER")

    async def set_options(
        self,
        *,
        publish: Iterable[Operation | str] | None = None,
        via_partition_root: bool | None = None,
        publish_generated_columns: GeneratedColumns | str | None = None,
        force: bool = False,
        timeout: float = 10.0,
    ) -> None:
        """Change what is given of its options.

        Raises: UnsupportedByServer for an option that the major lacks; ReplicaIdentityMissing when
        it would publish updates or deletes that fail then, unless ``force``; StatementTimeout.
        Source: ALTER PUBLICATION … SET.
        """
        options = parts.publication_options(
            self._link.require, publish, via_partition_root, publish_generated_columns
        )
        if not options:
            raise ValueError("no option is given to set")
        await self._alter(
            "SET", SQL(SET_OPTIONS).format(SQL(", ").join(options)), timeout, force=force
        )

    async def rename(self, name: str, *, timeout: float = 10.0) -> None:
        """Give it another name. Subscriptions go by the name: theirs must be changed too.

        Raises: AlreadyExists.  Needs: CREATE on the database.
        Source: ALTER PUBLICATION … RENAME TO.
        """
        await self._alter("RENAME TO", Identifier(name), timeout, force=True, name=name)

    async def set_owner(self, role: str, *, timeout: float = 10.0) -> None:
        """Give it to another role.

        Source: ALTER PUBLICATION … OWNER TO.
        """
        await self._alter("OWNER TO", Identifier(role), timeout, force=True)

    async def drop(self, *, timeout: float = 10.0) -> None:
        """Drop it. A subscription to it fails from then on, until it names others.

        Raises: PublicationNotFound; StatementTimeout.  Source: DROP PUBLICATION.
        """
        tried = f"drop the publication {self.name!r}"
        await read_publication(self._link, self.name)
        statement = SQL(DROP_PUBLICATION).format(Identifier(self.name))
        async with self._link.transaction(tried, timeout=timeout) as link:
            await link.run(tried, statement, grant=self._owner, meaning=_MEANING)

    async def _schemas(
        self, verb: str, schemas: Sequence[str], timeout: float, *, force: bool
    ) -> None:
        self._link.require("publication.schemas")
        grant = None if verb == "DROP" else "SUPERUSER"
        await self._alter(
            f"{verb} TABLES IN SCHEMA", parts.names(schemas), timeout, force=force, grant=grant
        )

    async def _alter(
        self,
        words: str,
        what: Composable,
        timeout: float,
        *,
        force: bool,
        name: str | None = None,
        grant: str | None = None,
    ) -> None:
        tried = f"alter the publication {self.name!r}: {words.lower()}"
        statement = SQL(ALTER_PUBLICATION).format(
            Identifier(self.name),
            SQL(words),
            what,
        )
        async with self._link.transaction(tried, timeout=timeout) as link:
            # What the server says of an unknown one is no different from an unknown table.
            before = await read_publication(link, self.name)
            await link.run(tried, statement, grant=grant or self._owner, meaning=_MEANING)
            self.state = await read_publication(link, name or self.name)
            try:
                if not force:
                    await insist_on_identity(link, self.state, tried)
            except ReplicaIdentityMissing:
                self.state = before
                raise

    @property
    def _owner(self) -> str:
        return self.state.pubowner

    def __repr__(self) -> str:
        what = "all tables" if self.state.puballtables else "some tables"
        if self.state.except_tables:
            what += f" but {len(self.state.except_tables)}"
        if self.state.puballsequences:
            what = f"{what}, all sequences" if self.state.puballtables else "all sequences"
        operations = ", ".join(self.state.publish) or "nothing"
        return f"<{type(self).__name__} {self.name!r}, {operations} of {what}>"


async def read_publication(link: AsyncLink, name: str) -> PublicationState:
    """The publication of that name.

    Raises: PublicationNotFound.
    """
    tried = f"read the publication {name!r}"
    for record in await link.all(tried, ONE_PUBLICATION.sql(link.version.major), [name]):
        return ONE_PUBLICATION.read(record)
    raise PublicationNotFound(tried, "there is no publication of that name in this database")


async def make_publication(
    link: AsyncLink,
    name: str,
    *,
    tables: Sequence[AnyPublished],
    schemas: Sequence[str],
    everything: Sequence[Composable],
    options: Sequence[Composable],
    force: bool,
    timeout: float,
) -> AsyncPublication:
    """CREATE PUBLICATION, taken back at once when it would break UPDATE or DELETE."""
    tried = f"create the publication {name!r}"
    if everything and (tables or schemas):
        raise TypeError("all_tables or all_sequences, or else tables and schemas: not both")
    scope = [*everything]
    if tables:
        scope.append(SQL(SCOPE_TABLES).format(parts.published_list(link.require, tables)))
    if schemas:
        link.require("publication.schemas")
        scope.append(SQL(SCOPE_SCHEMAS).format(parts.names(schemas)))
    statement = SQL(CREATE_PUBLICATION).format(Identifier(name))
    if scope:
        statement += SQL(FOR_SCOPE).format(SQL(", ").join(scope))
    if options:
        statement += SQL(WITH_OPTIONS).format(SQL(", ").join(options))
    database = f"CREATE ON DATABASE {link.connection.info.dbname}"
    grant = "SUPERUSER" if everything or schemas else database
    async with link.transaction(tried, timeout=timeout) as within:
        await within.run(tried, statement, grant=grant, meaning=_MEANING)
        state = await read_publication(within, name)
        if not force:
            await insist_on_identity(within, state, tried)
    return AsyncPublication(link, state)


async def insist_on_identity(link: AsyncLink, state: PublicationState, tried: str) -> None:
    """Raise when a published table's UPDATE or DELETE fails now, as the server would say then."""
    if not (state.pubupdate or state.pubdelete):
        return
    major = link.version.major
    written = written_tables(major)
    records = await link.all(tried, identities(major, written), [state.pubname])
    verdicts = [identity_in(record) for record in records]
    remedies = {str(v.table): v.remedy for v in verdicts if not v.is_usable}
    if not remedies and major >= 15:
        remedies = await _limited_wrongly(link, state, tried)
    if remedies:
        raise ReplicaIdentityMissing(tried, remedies)


async def _limited_wrongly(link: AsyncLink, state: PublicationState, tried: str) -> dict[str, str]:
    # Which columns a filter's expression needs only the server knows: planning the statement
    # makes it look, and neither changes nor reads a row.
    remedies = {}
    for record in await link.all(
        tried, LIMITED_TABLES.format(written_tables(link.version.major)), [state.pubname]
    ):
        name = table_in(record)
        statement = SQL(TRY_DELETE).format(parts.table(name))
        if not state.pubdelete:
            column = Identifier(record["column"])
            statement = SQL(TRY_UPDATE).format(parts.table(name), column, column)
        try:
            await link.run(
                tried,
                statement,
                grant=f"{'DELETE' if state.pubdelete else 'UPDATE'} ON {name}",
                meaning={INVALID_COLUMN_REFERENCE: _Refused},
            )
        except _Refused:
            remedies[str(name)] = (
                f"of {name} publish all columns of its replica identity, and filter by those only"
            )
    return remedies


async def read_published(publisher: AsyncLink, names: Iterable[str]) -> list[PublishedTable]:
    """The tables of publications as the server expands them, by name."""
    sql = published_tables(publisher.version.major)
    records = await publisher.all("read the published tables", sql, [[*names]])
    return [PublishedTable(table_in(r), r["columns"], r["where"]) for r in records]


async def read_identities(link: AsyncLink, tables: Sequence[TableName]) -> list[ReplicaIdentity]:
    """By what the old rows of those of the tables are told that are there, by name."""
    columns = [[table.schema for table in tables], [table.name for table in tables]]
    sql = identities(link.version.major, NAMED_TABLES)
    records = await link.all("read the replica identities", sql, columns)
    return [identity_in(record) for record in records]
