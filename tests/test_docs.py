"""The documentation names files that exist."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "pgreplkit"
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
LAYERS = {path.name for path in SOURCE.iterdir() if path.is_dir()}
# A path as the pages write it: a file with a suffix, or a folder with a slash at its end.
FILE_NAME = re.compile(r"`([\w.-]+(?:/[\w.-]+)*(?:\.py|\.md|\.toml|/))`")
REPOSITORY = "https://github.com/pgreplkit/pgreplkit/blob/main/"
LINK = re.compile(r"\]\(((?!https?:)[^)#]+)")


def paths_in(page: Path) -> Iterator[str]:
    yield from FILE_NAME.findall(page.read_text())


def exists(path: str) -> bool:
    """Look in the repository, in the package, and in each layer (`wire/` is in `_async`)."""
    places = [ROOT, SOURCE, *(SOURCE / layer for layer in LAYERS)]
    return any((place / path).exists() for place in places)


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "docs/explanation/architecture.md"])
def test_every_path_on_a_page_for_contributors_exists(name: str) -> None:
    assert [path for path in paths_in(ROOT / name) if not exists(path)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_has_a_target(page: Path) -> None:
    links = LINK.findall(page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_page_about_installing_lists_every_extra() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    page = (ROOT / "docs" / "how-to" / "install.md").read_text()
    listed = {
        name
        for row in re.findall(r"^\| (`.*?) \|", page, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", row)
    }
    assert listed == extras["optional-dependencies"].keys()


def test_the_page_about_logging_lists_every_logger() -> None:
    used = {
        name
        for path in SOURCE.rglob("*.py")
        for name in re.findall(r'getLogger\("(pgreplkit.*?)"\)', path.read_text())
    }
    page = (ROOT / "docs" / "how-to" / "log-what-happens.md").read_text()
    listed = {*re.findall(r"^\| `(pgreplkit[.\w]*)` \|", page, re.MULTILINE)}
    # The command line installs a handler that drops everything on the parent of all.
    assert listed == used - {"pgreplkit"}


def test_the_readme_has_absolute_links_to_files_that_exist() -> None:
    text = (ROOT / "README.md").read_text()
    assert LINK.findall(text) == []
    paths = re.findall(rf"{re.escape(REPOSITORY)}(\S+)", text)
    assert len(paths) > 10
    assert [path for path in paths if not (ROOT / path).exists()] == []
    # A definition that is not a line of its own is text, and links to it are not links.
    definitions = re.findall(rf"^\[[^\]]+\]: {re.escape(REPOSITORY)}\S+$", text, re.MULTILINE)
    assert len(definitions) == len(paths)
