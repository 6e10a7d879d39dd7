"""Markup: HTML and SVG that is built from escaped parts."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

MUTED = "opacity:.65"
MONO = "font-family:ui-monospace,SFMono-Regular,Menlo,monospace"
LINE = "1px solid rgba(128,128,128,.35)"
GREEN, BLUE, AMBER, RED, GREY = "#2e8b57", "#3b7dd8", "#a87000", "#d9424c", "#777f89"
PALETTE = (BLUE, "#c25a10", GREEN, "#8f63e0", "#c9489b", "#0e8a8a", AMBER, "#7a7f00")
"""Colours with a contrast of more than 3.5 on white and on the dark backgrounds of notebooks."""


class Markup(str):
    """Text that is HTML already, and is not escaped again."""

    __slots__ = ()


def text(value: object) -> Markup:
    """Return a value as escaped text; Markup stays as it is."""
    if isinstance(value, Markup):
        return value
    content = str(value)
    if content.isascii() and content.isprintable():
        return Markup(escape(content))
    # A lone surrogate, as in a name that could not be decoded, cannot be sent to a browser.
    printable = content.encode("utf-8", "backslashreplace").decode()
    # Control characters are not allowed in HTML, not even as references.
    return Markup(
        escape("".join(c if c >= " " or c in "\n\t" else repr(c)[1:-1] for c in printable))
    )


def tag(name: str, *children: object, **attributes: str | float) -> Markup:
    """Return an element; children and attributes are escaped.

    Underscores in the names of attributes stand for hyphens: ``stroke_width=1``.
    """
    written = "".join(
        f' {key.replace("_", "-")}="{text(_number(value))}"' for key, value in attributes.items()
    )
    return Markup(f"<{name}{written}>{''.join(map(text, children))}</{name}>")


def _number(value: str | float) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)


def join(parts: Iterable[Markup]) -> Markup:
    """Return the parts one after the other."""
    return Markup("".join(parts))


def spaced(parts: Iterable[Markup]) -> Markup:
    """Return the parts with a space between them."""
    return Markup(" ".join(parts))


def block(*children: object, style: str = "") -> Markup:
    """Return a div."""
    return tag("div", *children, style=style) if style else tag("div", *children)


def span(*children: object, style: str) -> Markup:
    """Return an inline element with a style."""
    return tag("span", *children, style=style)


def badge(word: object, colour: str) -> Markup:
    """Return a word in a coloured frame: the word says the same as the colour."""
    frame = f"color:{colour};border:1px solid {colour};border-radius:.6em"
    return span(word, style=f"{frame};padding:0 .45em;font-size:90%;white-space:nowrap")


def muted(*children: object) -> Markup:
    """Return text of less weight."""
    return span(*children, style=MUTED)


def code(value: object) -> Markup:
    """Return SQL, a command or a position."""
    return span(value, style=f"{MONO};font-size:92%;white-space:pre-wrap;overflow-wrap:anywhere")


def panel(title: object, *children: object) -> Markup:
    """Return a whole display: a title and its content."""
    heading = block(title, style="font-weight:600;margin-bottom:.3em")
    style = "font-size:13px;line-height:1.45;overflow-x:auto;margin:.3em 0"
    return block(heading, *children, style=style)
