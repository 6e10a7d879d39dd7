"""Checks of HTML: complete, without scripts, and with everything escaped."""

from __future__ import annotations

from html.parser import HTMLParser

from instances import HOSTILE


class Checker(HTMLParser):
    """Follows the nesting of elements, and collects the text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        assert tag not in {"script", "iframe", "img", "link", "style", "a"}
        assert not [name for name, _ in attributes if name.startswith("on")]
        assert not [value for _, value in attributes if "url(" in (value or "")]
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def words_of(html: str) -> str:
    """The text of HTML, which must be complete and must not contain hostile parts."""
    checker = Checker()
    checker.feed(html)
    checker.close()
    assert not checker.open
    assert HOSTILE not in html
    assert "\x1b" not in html
    return " ".join(" ".join(checker.words).split())
