"""How the values of streamed rows become Python's: by psycopg's own loaders, and the user's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs
from psycopg.adapt import AdaptersMap, Transformer
from psycopg.pq import Format

from pgreplkit.protocol.pgoutput.tables import Column
from pgreplkit.protocol.pgoutput.tuples import LoadValues, Octets

if TYPE_CHECKING:
    from psycopg import BaseConnection


@attrs.frozen
class RowLoading:
    """Loads by ``adapters``, for a connection whose settings say how texts are to be read."""

    adapters: AdaptersMap
    connection: BaseConnection[object] | None

    def __call__(self, columns: Sequence[Column], binary: frozenset[int], /) -> LoadValues:
        """What loads the values of such columns, of which ``binary`` are sent in binary."""
        oids = [column.type_oid for column in columns]
        transformer = Transformer(self)
        if not binary or len(binary) == len(columns):
            transformer.set_loader_types(oids, Format.BINARY if binary else Format.TEXT)
            return transformer.load_sequence
        loads = [
            transformer.get_loader(oid, Format.BINARY if at in binary else Format.TEXT).load
            for at, oid in enumerate(oids)
        ]

        def load(sent: Sequence[Octets]) -> tuple[object, ...]:
            return tuple(
                None if value is None else load(value)
                for load, value in zip(loads, sent, strict=True)
            )

        return load
