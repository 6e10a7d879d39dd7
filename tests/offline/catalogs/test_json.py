"""The JSON of catalogues: changed, and nested without end."""

from __future__ import annotations

import pytest
from catalogtexts import PGBACKREST

from pgreplkit.offline.backups import InvalidBackupCatalog
from pgreplkit.offline.catalogs.pgbackrest import pgbackrest_backups
from pgreplkit.offline.catalogs.walg import walg_backups


@pytest.mark.parametrize(
    ("old", "new", "place", "reason"),
    [
        ('"0/3000130"', '"x"', "the catalogue[0].backup[0].lsn.stop", "contains no"),
        ('"timestamp":{', '"time":{', "the catalogue[0].backup[0].timestamp", "it is missing"),
        ('"size":23000000}', '"size":"big"}', "backup[0].info.size", "not a whole number"),
        ('"start":1795799383', '"start":1e9', "timestamp.start", "not a whole number"),
        ('"start":1795799383', f'"start":{10**20}', "timestamp.start", "is not a time"),
        (
            '"version":"15"',
            '"version":"x"',
            "the catalogue[0].db[0].version",
            "not start with a version",
        ),
        ('"backup":[', '"backup":{"x":[', "", "it is not JSON"),
        ('"version":"15"', '"version":15', "the catalogue[0].db[0].version", "not a text"),
    ],
)
def test_a_changed_catalogue_names_the_place(old: str, new: str, place: str, reason: str) -> None:
    with pytest.raises(InvalidBackupCatalog) as caught:
        pgbackrest_backups(PGBACKREST.replace(old, new, 1))
    assert place in str(caught.value.value)
    assert reason in caught.value.reason


def test_json_of_any_depth_is_refused() -> None:
    for parse in (walg_backups, pgbackrest_backups):
        with pytest.raises(InvalidBackupCatalog, match="it is not JSON"):
            parse("[" * 100_000)
