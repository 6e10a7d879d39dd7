"""The schema at the preparation of an upgrade, and the DDL since then."""

import json
from collections.abc import Iterable, Iterator, Mapping

import attrs

from pgreplkit.plans.logical.drift import SchemaSection
from pgreplkit.plans.server.readiness import checked
from pgreplkit.values.finding import Finding, Severity

Fingerprint = Mapping[str, str]
"""A hash for each object of a schema."""


@attrs.frozen(kw_only=True)
class KeptSchema:
    """The fingerprints of both servers: that of the old one before the copy of its rows begins,
    and that of the new one when the preparation is complete."""

    identity: str = ""
    """The identity of a preparation by clone, by which its stale journal is known."""
    old: Fingerprint = attrs.field(factory=dict)
    new: Fingerprint = attrs.field(factory=dict)

    @classmethod
    def from_text(cls, text: str | None) -> "KeptSchema":
        """Parse the output of ``to_text``; return an empty one for any other text."""
        try:
            kept = json.loads(text or "")["pgreplkit"]
            return cls(identity=str(kept["identity"]), old=dict(kept["old"]), new=dict(kept["new"]))
        except (ValueError, KeyError, TypeError):
            return cls()

    def to_text(self) -> str:
        """Return the fingerprints as the comment of a publication."""
        return json.dumps({"pgreplkit": attrs.asdict(self)})


def schema_findings(kept: KeptSchema, old: Fingerprint, new: Fingerprint) -> Iterator[Finding]:
    """Return the findings about DDL since the preparation that only one server has got.

    An object that was changed on both servers is taken as the same: the text of a definition
    depends on the major version.
    """
    is_known = bool(kept.old and kept.new)
    missing = _changes(kept.old, old, before=kept.new, there=new)
    yield checked(
        "DDL since the preparation",
        ok=is_known and not missing,
        observed="; ".join(missing) or "none"
        if is_known
        else "unknown: the preparation kept no schema",
        needed="none, or the same on both servers",
        remedy="execute the same DDL on the new server",
        otherwise=Severity.CRITICAL if is_known else Severity.INFO,
    )
    if is_known:
        alone = _changes(kept.new, new, before=kept.old, there=old)
        yield checked(
            "DDL on the new server only",
            ok=not alone,
            observed="; ".join(alone) or "none",
            needed="none, or what is meant for the new server",
            remedy="revert what is not meant: it takes effect with the cutover",
            # Such as an index that only the new version supports.
            otherwise=Severity.WARNING,
        )


COPY = "copy of "
"""Begins the marks of replicated tables, which are kept with the objects of the schema."""


def uncopied_tables(kept: KeptSchema, old: Fingerprint, new: Fingerprint) -> list[str]:
    """Return the tables that were published again since the preparation, and not copied since."""
    return [
        name.removeprefix(COPY)
        for name, mark in kept.old.items()
        if name.startswith(COPY)
        and old.get(name, mark) != mark
        # It is empty if the subscription has the table without a copy.
        and new.get(name) in ("", kept.new.get(name))
    ]


def _changes(
    kept: Fingerprint, now: Fingerprint, *, before: Fingerprint, there: Fingerprint
) -> list[str]:
    """Return the objects of one server that were changed, and not on the other one."""
    changes = []
    for name in sorted(name for name in {*kept, *now} if not name.startswith(COPY)):
        if kept.get(name) == now.get(name) or there.get(name) == now.get(name):
            continue
        if there.get(name) == before.get(name):
            was = "is new" if name not in kept else "was changed"
            changes.append(f"{name} {was if name in now else 'was dropped'}")
    return changes


_BY_DEFINITION = ("index ", "constraint ")
"""Objects that have other names where they belong to partitions: they are compared as tables."""
_AFTER_THE_ROWS = ("trigger ", "rule ", "policy ", "event trigger ", "statistics ")
"""Objects of pg_dump's post-data section, besides indexes and constraints."""
_PRIVILEGES = "default privileges "
_PARTS = ("columns of ", "options of ", "parents of ", "privileges of ", "row level security of ")
"""Definitions that belong to an object of another line."""


def definitions(names: Iterable[str]) -> list[str]:
    """Return the objects among those of a fingerprint that pg_restore creates before the rows."""
    # Extensions and the schema public may exist before.
    others = (*_BY_DEFINITION, *_AFTER_THE_ROWS, _PRIVILEGES, *_PARTS, "extension ")
    return [name for name in names if not name.startswith(others) and name != "schema public"]


def colliding(old: Fingerprint, new: Fingerprint) -> list[str]:
    """Return the objects that both servers have, if the copy of the schema has others to create.

    Without any, the step has nothing to do.
    """
    wanted = definitions(old)
    there = sorted(name for name in wanted if name in new)
    return there if len(there) < len(wanted) else []


def uncopied(
    section: SchemaSection, old: Fingerprint, new: Fingerprint, *, privileges: bool
) -> list[str]:
    """Return the objects of a section that the new server lacks, without keys and indexes."""
    missing = [
        name for name in sorted(old.keys() - new.keys()) if not name.startswith(_BY_DEFINITION)
    ]
    late = (*_AFTER_THE_ROWS, _PRIVILEGES)
    match section:
        case SchemaSection.PRE_DATA:
            return [name for name in missing if not name.startswith(late)]
        case SchemaSection.KEYS:
            return []
    return [name for name in missing if name.startswith(late if privileges else _AFTER_THE_ROWS)]
