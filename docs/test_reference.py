"""The reference that was built shows every public member, and every docstring of a field."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from reference import DIRECTIVE, analyse_private_modules, members, public_classes, public_objects
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.inventory import InventoryFile

DOCS = Path(__file__).parent
BUILT = DOCS / "_build"


@cache
def pages() -> dict[str, str]:
    """Return the page of each documented object, by its full name."""
    inventory = InventoryFile.loads((BUILT / "objects.inv").read_bytes(), uri="").data
    return {
        name: item.uri.partition("#")[0]
        for kind, items in inventory.items()
        if kind.startswith("py:")
        for name, item in items.items()
    }


@cache
def text_of(page: str) -> str:
    return words(html.unescape(re.sub(r"<[^>]+>", " ", (BUILT / page).read_text())))


def words(text: str) -> str:
    """Reduce a text to its words: markup and line breaks are not a difference."""
    return " ".join(re.findall(r"\w+", text))


def test_every_public_object_is_on_exactly_one_page() -> None:
    documented = [
        name for page in DOCS.glob("reference/*.md") for name in DIRECTIVE.findall(page.read_text())
    ]
    assert sorted(documented) == sorted(public_objects())


def test_the_reference_shows_every_public_member() -> None:
    names = public_classes()
    wanted = {f"{names[owner]}.{name}" for value in names for name, owner in members(value)}
    assert sorted(wanted - {*pages()}) == []


def test_the_reference_shows_the_docstring_of_every_field() -> None:
    analyse_private_modules()
    docs = [
        (name, field, doc)
        for value, name in public_classes().items()
        for field, doc in field_docs(value)
    ]
    assert len(docs) > 300
    assert [d for d in docs if words(d[2]) not in text_of(pages()[d[0]])] == []


def field_docs(value: type) -> Iterator[tuple[str, str]]:
    analyzer = ModuleAnalyzer.for_module(value.__module__)
    analyzer.analyze()
    for (owner, field), lines in analyzer.attr_docs.items():
        if owner == value.__name__ and not field.startswith("_"):
            yield field, " ".join(lines)
