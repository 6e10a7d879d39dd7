"""AsyncPublication: a publication of a database, and the operations on it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from psycopg.sql import SQL, Composable, Identifier

from pgreplkit._async.wire.link import AsyncLink
from pgreplkit.catalog.features import has
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
    WITH_OPTIONS,
    AnyPublished,
    GeneratedColumns,
    Operation,
    PublicationState,
    PublishedTable,
    published_tables,
)
from pgreplkit.catalog.logical.replicaidentity import (
    LEAVES,
    NAMED_TABLES,
    ReplicaIdentity,
    identities,
    identity_in,
    whole_identities,
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
from pgreplkit.plans.logical.rowfilters import filter_trials
from pgreplkit.values.flags import checked_flags, optional_flags
from pgreplkit.values.madeby import made_by
from pgreplkit.values.record import Stateful
from pgreplkit.values.rows import Rows
from pgreplkit.values.seconds import Timeout
from pgreplkit.values.tablename import AnyTable, TableName, schemas_and_names

_MEANING = {
    DUPLICATE_OBJECT: AlreadyExists,
    UNDEFINED_OBJECT: PublicationNotFound,
    UNDEFINED_TABLE: TableNotFound,
    READ_ONLY_TRANSACTION: NotAPrimary,
}


class _Refused(ServerError):
    """The server refused a statement."""


@made_by("primary.publication(name) or primary.create_publication(name)", AsyncLink)
class AsyncPublication(Stateful):
    """A publication, with its ``state`` when it was last read.

    ``publication``, ``publications`` and ``create_publication`` of a primary return it. Each change
    is made completely or not at all, may take ``timeout`` seconds, locks included, and needs the
    publication's owner.
    """

    def __init__(self, link: AsyncLink, state: PublicationState) -> None:
        self._link = link
        self.state: PublicationState = state

    @property
    def name(self) -> str:
        """The publication's name."""
        return self.state.pubname

    async def refresh(self) -> AsyncPublication:
        """Read the state again, and return the publication.

        Raises: PublicationNotFound.  Source: pg_publication.
        """
        self.state = await read_publication(self._link, self.name)
        return self

    async def tables(self) -> Rows[PublishedTable]:
        """Return the published tables; the server expands schemas and partitions.

        Source: pg_publication_tables.
        """
        return Rows(await read_published(self._link, [self.name]))

    async def sequences(self) -> list[TableName]:
        """Return the published sequences, which subscribers can synchronize.

        Raises: UnsupportedByServer before 19.  Source: pg_publication_sequences.
        """
        self._link.require("publication.all_sequences")
        records = await self._link.all("read the sequences", PUBLISHED_SEQUENCES, [self.name])
        return [table_in(record) for record in records]

    async def add_tables(
        self, *tables: AnyPublished, force: bool = False, timeout: Timeout = 10.0
    ) -> None:
        """Add tables.

        Raises: ReplicaIdentityMissing if UPDATE or DELETE of a table would then fail, unless
        ``force``; TableNotFound; AlreadyExists for a table that is already published;
        UnsupportedByServer before 15 for columns and ``where``; StatementTimeout.
        Needs: the tables' owner.  Source: ALTER PUBLICATION … ADD TABLE.
        """
        checked_flags(force=force)
        await self._alter(
            "ADD TABLE", parts.published_list(self._link.require, tables), timeout, force=force
        )

    async def set_tables(
        self, *tables: AnyPublished, force: bool = False, timeout: Timeout = 10.0
    ) -> None:
        """Publish these tables and no others; published schemas are removed.

        Raises and needs: as ``add_tables``.  Source: ALTER PUBLICATION … SET TABLE.
        """
        checked_flags(force=force)
        await self._alter(
            "SET TABLE", parts.published_list(self._link.require, tables), timeout, force=force
        )

    async def drop_tables(self, *tables: AnyTable, timeout: Timeout = 10.0) -> None:
        """Remove tables. Subscribers keep the rows that they have.

        Raises: PublicationNotFound for a table that is not published; TableNotFound;
        StatementTimeout.
        Source: ALTER PUBLICATION … DROP TABLE.
        """
        names = parts.published_list(
            self._link.require, [PublishedTable(table) for table in tables]
        )
        # As for schemas, nothing is published that was not published before.
        await self._alter("DROP TABLE", names, timeout, force=True)

    async def add_schemas(
        self, *schemas: str, force: bool = False, timeout: Timeout = 10.0
    ) -> None:
        """Add all tables of these schemas, also future ones.

        Raises: UnsupportedByServer before 15; and as ``add_tables``.
        Needs: superuser.  Source: ALTER PUBLICATION … ADD TABLES IN SCHEMA.
        """
        checked_flags(force=force)
        await self._schemas("ADD", schemas, timeout, force=force)

    async def set_schemas(
        self, *schemas: str, force: bool = False, timeout: Timeout = 10.0
    ) -> None:
        """Publish all tables of these schemas and nothing else.

        Raises and needs: as ``add_schemas``.  Source: ALTER PUBLICATION … SET TABLES IN SCHEMA.
        """
        checked_flags(force=force)
        await self._schemas("SET", schemas, timeout, force=force)

    async def drop_schemas(self, *schemas: str, timeout: Timeout = 10.0) -> None:
        """Stop publishing all tables of these schemas.

        Raises: UnsupportedByServer before 15; PublicationNotFound for a schema that is not in it.
        Source: ALTER PUBLICATION … DROP TABLES IN SCHEMA.
        """
        # A table that is no longer published needs no replica identity.
        await self._schemas("DROP", schemas, timeout, force=True)

    async def set_all(
        self,
        *,
        all_tables: bool = False,
        except_tables: Iterable[AnyTable] = (),
        all_sequences: bool = False,
        force: bool = False,
        timeout: Timeout = 10.0,
    ) -> None:
        """Publish all tables of the database except ``except_tables``, all sequences, or both.

        This replaces earlier exceptions. A partition can be excluded only with its partitioned
        table.

        Raises: UnsupportedByServer before 19; ServerError if it publishes single tables or
        schemas; and as ``add_tables``.
        Needs: superuser.  Source: ALTER PUBLICATION … SET ALL TABLES.
        """
        checked_flags(all_tables=all_tables, all_sequences=all_sequences, force=force)
        self._link.require("publication.set_all")
        scope = parts.whole_database(
            self._link.require,
            all_tables=all_tables,
            except_tables=except_tables,
            all_sequences=all_sequences,
        )
        # The server would report a syntax error at the end of the statement.
        if not scope:
            raise ValueError("pass all_tables=True, all_sequences=True or both")
        await self._alter("SET", SQL(", ").join(scope), timeout, force=force, grant="SUPERUSER")

    async def set_options(
        self,
        *,
        publish: Iterable[Operation | str] | None = None,
        via_partition_root: bool | None = None,
        publish_generated_columns: GeneratedColumns | str | None = None,
        force: bool = False,
        timeout: Timeout = 10.0,
    ) -> None:
        """Change the given options.

        Raises: UnsupportedByServer for an option that the server's version lacks;
        ReplicaIdentityMissing if UPDATE or DELETE would then fail, unless ``force``;
        StatementTimeout.
        Source: ALTER PUBLICATION … SET.
        """
        checked_flags(force=force)
        optional_flags(via_partition_root=via_partition_root)
        options = parts.publication_options(
            self._link.require, publish, via_partition_root, publish_generated_columns
        )
        if not options:
            raise ValueError("no option is given")
        await self._alter(
            "SET", SQL(SET_OPTIONS).format(SQL(", ").join(options)), timeout, force=force
        )

    async def rename(self, name: str, *, timeout: Timeout = 10.0) -> None:
        """Rename it. Subscriptions refer to it by name, and must be changed too.

        Raises: AlreadyExists.  Needs: CREATE on the database.
        Source: ALTER PUBLICATION … RENAME TO.
        """
        await self._alter("RENAME TO", Identifier(name), timeout, force=True, name=name)

    async def set_owner(self, role: str, *, timeout: Timeout = 10.0) -> None:
        """Change its owner.

        Source: ALTER PUBLICATION … OWNER TO.
        """
        await self._alter("OWNER TO", Identifier(role), timeout, force=True)

    async def drop(self, *, timeout: Timeout = 10.0) -> None:
        """Drop it. Subscriptions to it fail until they are changed to other publications.

        Raises: PublicationNotFound; StatementTimeout.  Source: DROP PUBLICATION.
        """
        operation = f"drop the publication {self.name!r}"
        # This raises PublicationNotFound, where the server reports an undefined object of any kind.
        await read_publication(self._link, self.name)
        statement = SQL(DROP_PUBLICATION).format(Identifier(self.name))
        async with self._link.transaction(operation, timeout=timeout) as link:
            await link.run(operation, statement, grant=self._owner, meaning=_MEANING)

    async def _schemas(
        self, verb: str, schemas: Sequence[str], timeout: Timeout, *, force: bool
    ) -> None:
        self._link.require("publication.schemas")
        # Later tables of a schema may have any owner, so that only a superuser may publish them.
        grant = None if verb == "DROP" else "SUPERUSER"
        await self._alter(
            f"{verb} TABLES IN SCHEMA", parts.names(schemas), timeout, force=force, grant=grant
        )

    async def _alter(
        self,
        words: str,
        what: Composable,
        timeout: Timeout,
        *,
        force: bool,
        name: str | None = None,
        grant: str | None = None,
    ) -> None:
        operation = f"alter the publication {self.name!r}: {words.lower()}"
        statement = SQL(ALTER_PUBLICATION).format(
            Identifier(self.name),
            SQL(words),
            what,
        )
        async with self._link.transaction(operation, timeout=timeout) as link:
            # The server's error for an unknown publication is the same as for an unknown table.
            before = await read_publication(link, self.name)
            await link.run(operation, statement, grant=grant or self._owner, meaning=_MEANING)
            self.state = await read_publication(link, name or self.name)
            # Afterwards: only the server knows which tables are published now.
            try:
                if not force:
                    await insist_on_identity(link, self.state, operation)
            except ReplicaIdentityMissing:
                # The transaction rolls the change back.
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
    """Return the publication of that name.

    Raises: PublicationNotFound.
    """
    operation = f"read the publication {name!r}"
    for record in await link.all(operation, ONE_PUBLICATION.sql(link.version.major), [name]):
        return ONE_PUBLICATION.read(record)
    raise PublicationNotFound(operation, "the database has no publication of that name")


async def make_publication(
    link: AsyncLink,
    name: str,
    *,
    tables: Sequence[AnyPublished],
    schemas: Sequence[str] = (),
    everything: Sequence[Composable] = (),
    is_empty: bool = False,
    options: Sequence[Composable] = (),
    force: bool = False,
    timeout: Timeout,
) -> AsyncPublication:
    """Create a publication, unless it would make UPDATE or DELETE fail."""
    operation = f"create the publication {name!r}"
    # The server would only report a syntax error.
    if everything and (tables or schemas):
        raise TypeError("tables and schemas cannot be combined with all_tables or all_sequences")
    has_scope = bool(everything or tables or schemas)
    if is_empty and has_scope:
        raise TypeError("empty=True cannot be combined with tables, schemas or all_…")
    # A computed list of tables may be empty by mistake, which would go unnoticed.
    if not is_empty and not has_scope:
        raise ValueError(
            f"could not {operation}: it would publish nothing; choose tables, schemas, all_tables"
            " or all_sequences, or empty=True to add tables later"
        )
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
    # Only for the text of an error.
    database = f"CREATE ON DATABASE {link.connection.info.dbname}"
    grant = "SUPERUSER" if everything or schemas else database
    async with link.transaction(operation, timeout=timeout) as within:
        await within.run(operation, statement, grant=grant, meaning=_MEANING)
        state = await read_publication(within, name)
        if not force:
            await insist_on_identity(within, state, operation)
    return AsyncPublication(link, state)


async def insist_on_identity(link: AsyncLink, state: PublicationState, operation: str) -> None:
    """Raise ReplicaIdentityMissing if UPDATE or DELETE of a published table now fails."""
    # Inserts are replicated without an identity.
    if not (state.pubupdate or state.pubdelete):
        return
    major = link.version.major
    written = written_tables(major)
    records = await link.all(operation, identities(major, written), [state.pubname])
    verdicts = [identity_in(record) for record in records]
    remedies = {str(v.table): v.remedy for v in verdicts if not v.is_usable}
    # A table without an identity fails whatever its filter.
    if not remedies and has("publication.columns", major):
        remedies = await _refused_filters(link, state, operation)
    if remedies:
        raise ReplicaIdentityMissing(operation, remedies)


async def _refused_filters(
    link: AsyncLink, state: PublicationState, operation: str
) -> dict[str, str]:
    """Return the remedy for each table whose row filter or column list makes a write fail."""
    limited = LIMITED_TABLES.format(written_tables(link.version.major))
    meaning = {INVALID_COLUMN_REFERENCE: _Refused}
    remedies = {}
    # The server checks filters only when a statement writes the table: so one is tried for each.
    for trial in filter_trials(state, await link.all(operation, limited, [state.pubname])):
        statement = parts.filter_trial(trial)
        try:
            await link.run(operation, statement, grant=trial.privilege, meaning=meaning)
        except _Refused:
            remedies[str(trial.table)] = trial.remedy
    return remedies


async def read_published(publisher: AsyncLink, names: Iterable[str]) -> list[PublishedTable]:
    """Return the tables of publications as the server expands them, by name."""
    sql = published_tables(publisher.version.major)
    records = await publisher.all("read the published tables", sql, [[*names]])
    return [PublishedTable(table_in(r), r["columns"], r["where"]) for r in records]


async def read_operations(
    publisher: AsyncLink, names: Iterable[str]
) -> dict[TableName, set[Operation]]:
    """Return the kinds of changes that publications send of each table."""
    operations: dict[TableName, set[Operation]] = {}
    for name in names:
        state = await read_publication(publisher, name)
        for one in await read_published(publisher, [name]):
            operations.setdefault(one.table, set()).update(state.publish)
    return operations


async def unsent_identities(
    link: AsyncLink, sent: Mapping[TableName, Collection[str]]
) -> dict[TableName, tuple[str, ...]]:
    """Return the columns of replica identities that are not among those ``sent``, by table.

    The server refuses UPDATE and DELETE of such a table.
    """
    names = [*sent]
    identities: dict[TableName, tuple[str, ...]] = {}
    # Before, an index may have generated columns, which are never sent.
    if link.has("publication.generated"):
        identities = {one.table: one.columns for one in await read_identities(link, names)}
    records = await link.all(
        "read the replica identities",
        whole_identities(link.version.major),
        [*schemas_and_names(names)],
    )
    identities |= {table_in(record): tuple(record["columns"]) for record in records}
    unsent = {
        table: tuple(name for name in columns if name not in sent[table])
        for table, columns in identities.items()
    }
    return {table: columns for table, columns in unsent.items() if columns}


async def read_identities(link: AsyncLink, tables: Sequence[TableName]) -> Rows[ReplicaIdentity]:
    """Return the replica identity of those of the tables that exist, by name."""
    columns = [*schemas_and_names(tables)]
    sql = identities(link.version.major, NAMED_TABLES)
    records = await link.all("read the replica identities", sql, columns)
    return Rows(identity_in(record) for record in records)


async def read_leaves(
    link: AsyncLink, roots: Sequence[TableName]
) -> dict[TableName, list[ReplicaIdentity]]:
    """Return the replica identities of partitions that have rows, by their partitioned table."""
    records = await link.all("read the partitions", LEAVES, [*schemas_and_names(roots)])
    names = [TableName(record["leaf_schema"], record["leaf_name"]) for record in records]
    found = {one.table: one for one in await read_identities(link, names)} if names else {}
    leaves: dict[TableName, list[ReplicaIdentity]] = {}
    for record, name in zip(records, names, strict=True):
        # It may have been dropped in between.
        if name in found:
            leaves.setdefault(table_in(record), []).append(found[name])
    return leaves
