"""A Sphinx extension: the reference of public names that are defined in private modules.

Public classes name a public module, such as ``pgreplkit.rows``, as theirs. autodoc would look there
for the docstrings of their fields, and find none. This extension

- adds the analysis of the private modules to that of the public ones;
- documents members of private bases in each public class that has them, and lists by name those of
  public bases;
- links the errors in ``Raises:``, and types whose annotation names a private module;
- starts each page of the reference with a table of its objects;
- makes the navigation from titles only, because a copy of all objects for each page takes long.
"""

from __future__ import annotations

import builtins
import inspect
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from sphinx.addnodes import toctree
from sphinx.ext.napoleon import Config, GoogleDocstring
from sphinx.pycode import ModuleAnalyzer

from pgreplkit._public import HOME

if TYPE_CHECKING:
    from docutils.nodes import TextElement, bullet_list, reference
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

PUBLIC_MODULES = [*HOME]
STANDARD = {
    "IPv4Address": "ipaddress.IPv4Address",
    "IPv6Address": "ipaddress.IPv6Address",
    "InvalidVersion": "packaging.version.InvalidVersion",
    "Path": "pathlib.Path",
    "Version": "packaging.version.Version",
    "datetime": "datetime.datetime",
    "timedelta": "datetime.timedelta",
}
"""Names in annotations of fields, which autodoc reads as text."""
SECTIONS = Config(napoleon_use_ivar=True)
LABEL = re.compile(r"(Raises|Needs|Source): +(?=\S)|(Needs|Source):$")
NAME = re.compile(r"(?<![\w`.~])[A-Z]\w+")
DIRECTIVE = re.compile(r"^\.\. auto(?:class|exception|function|data):: (\S+)", re.MULTILINE)


@cache
def public_objects() -> dict[str, Any]:
    """Return the public objects by full name, each in the module that it names as its own."""
    found = {}
    for module_name in PUBLIC_MODULES:
        module = import_module(module_name)
        for name in module.__all__:
            value = getattr(module, name)
            if getattr(value, "__module__", "") not in {*PUBLIC_MODULES} - {module_name}:
                found[f"{module_name}.{name}"] = value
    return found


@cache
def public_names() -> dict[str, str]:
    """Return the full names of the public objects by their last part; the first one counts."""
    return {name.rpartition(".")[2]: name for name in reversed(public_objects())}


@cache
def public_classes() -> dict[type, str]:
    """Return the full names of the public classes."""
    return {value: name for name, value in public_objects().items() if inspect.isclass(value)}


def owner(value: type, member: str) -> type | None:
    """Return the class whose reference documents a member: ``value`` or a public base.

    None for members of classes of other projects, such as ``Exception``.
    """
    definer = next(base for base in value.__mro__ if defines(base, member))
    if not definer.__module__.startswith("pgreplkit"):
        return None
    # A member of a private base is documented in the public class nearest to it.
    having = [b for b in value.__mro__ if b in public_classes() and definer in b.__mro__]
    return having[-1]


def defines(value: type, member: str) -> bool:
    """Return whether a class itself has a member, as an attribute or as an annotation."""
    return member in vars(value) or member in vars(value).get("__annotations__", {})


def members(value: type) -> Iterator[tuple[str, type]]:
    """Yield each public member with the class whose reference documents it."""
    annotated = {n for base in value.__mro__ for n in vars(base).get("__annotations__", {})}
    for name in sorted({*dir(value)} | annotated):
        if not name.startswith("_") and (documented := owner(value, name)):
            yield name, documented


def analyse_private_modules() -> None:
    """Let autodoc find in a public module what it analyses in those that define its names."""
    for public, homes in HOME.items():
        merged = ModuleAnalyzer.for_module(public)
        merged.analyze()
        for home in {*homes.values()}:
            analyzer = ModuleAnalyzer.for_module(f"pgreplkit.{home}")
            analyzer.analyze()
            for attribute in ("annotations", "attr_docs", "overloads", "tagorder"):
                getattr(merged, attribute).update(getattr(analyzer, attribute))
            merged.finals.extend(analyzer.finals)


def skip_member(
    app: Sphinx, what: str, name: str, member: object, skip: bool, options: object
) -> bool | None:
    """Skip what another class documents, and the objects of a module, which pages list."""
    module, qualname = (app.env.temp_data[f"autodoc:{part}"] for part in ("module", "class"))
    if what == "module" and module in PUBLIC_MODULES:
        return True
    if what not in {"class", "exception"} or skip:
        return None
    value = getattr(import_module(module), qualname)
    if name == "__init__":
        return None if is_constructor(value) else True
    return None if name.startswith("__") or owner(value, name) is value else True


def is_constructor(value: type) -> bool:
    """Return whether users can call a class: no parameter of it has a private type."""
    public, _, name = public_classes()[value].rpartition(".")
    home = HOME.get(public, {}).get(name)
    module = import_module(f"pgreplkit.{home}" if home else value.__module__)
    parameters = inspect.signature(value.__init__).parameters.values()
    words = {word for p in parameters for word in re.findall(r"[A-Z]\w+", str(p.annotation))}
    public_names = {name.rpartition(".")[2] for name in public_objects()} | {*STANDARD}
    return all(word in public_names or not is_private(vars(module).get(word)) for word in words)


def is_private(value: object) -> bool:
    """Return whether a value is a private class, or None: then only type checkers import it."""
    if value is None:
        return True
    return isinstance(value, type) and value.__module__.startswith("pgreplkit")


def describe(
    app: Sphinx, what: str, name: str, value: Any, options: object, lines: list[str]
) -> None:
    """Lay out the labelled paragraphs of a docstring, and add what a class inherits."""
    lines[:] = with_fields(lines)
    # The extension of napoleon takes words before a colon in a field's docstring for its type.
    if what not in {"attribute", "data", "property"}:
        lines[:] = GoogleDocstring(lines, SECTIONS, app, what, name, value, options).lines()
    if inspect.isclass(value) and value in public_classes():
        lines.extend(inheritance(value))


def with_fields(lines: list[str]) -> list[str]:
    """Turn paragraphs such as ``Raises: ConnectionFailed.`` into fields, which Sphinx lays out.

    A ``Raises:`` on a line of its own is a section, which napoleon parses.
    """
    result: list[str] = []
    label = None
    separate = [part for text in lines for part in re.split(r"  +(?=(?:Needs|Source): )", text)]
    for line in separate:
        if start := LABEL.match(line):
            if not label:
                result.append("")
            label = start[1] or start[2]
            text = f":{label}: {linked(line[start.end() :], label)}"
        else:
            label = label if line.strip() else None
            text = f"    {linked(line, label)}" if label else line
        result.append(text.rstrip())
    return result


def linked(text: str, label: str | None) -> str:
    """Link the errors in a text of ``Raises:``."""
    return NAME.sub(lambda name: error_link(name[0]), text) if label == "Raises" else text


def error_link(name: str) -> str:
    if full := public_errors().get(name):
        return f":exc:`{name} <{full}>`"
    return f":exc:`{name}`" if is_error(getattr(builtins, name, None)) else name


@cache
def public_errors() -> dict[str, str]:
    """Return the full names of the public errors by their last part."""
    return {n.rpartition(".")[2]: n for v, n in public_classes().items() if is_error(v)}


def is_error(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, BaseException)


def inheritance(value: type) -> Iterator[str]:
    """Return lines that name the public bases of a class, and the members that they document."""
    names = defaultdict(list)
    for name, documented in members(value):
        if documented is not value:
            names[documented].append(name)
    for base in value.__mro__[1:]:
        if full := public_classes().get(base):
            role = "exc" if is_error(base) else "class"
            inherited = ", ".join(f":any:`{n} <{full}.{n}>`" for n in names[base])
            yield from ("", f"Inherited from :{role}:`~{full}`: {inherited}".rstrip(": "))


def resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: TextElement
) -> reference | None:
    """Find the public object of a reference that names its private module, or no module."""
    if node.get("refdomain") != "py":
        return None
    if full := STANDARD.get(node["reftarget"]):
        node["reftarget"] = full  # for intersphinx
        return None
    name = public_names().get(node["reftarget"].rpartition(".")[2])
    if name is None or name == node["reftarget"]:
        return None
    return env.domains["py"].resolve_xref(  # type: ignore[no-any-return]
        *(env, node["refdoc"], app.builder, "obj", name, node, content)
    )


def add_summary(app: Sphinx, docname: str, source: list[str]) -> None:
    """Add a table of its objects below the title of a page of the reference."""
    names = DIRECTIVE.findall(source[0])
    if not docname.startswith("reference/") or len(names) < 2:
        return
    rows = "\n".join(f"   ~{name}" for name in names)
    table = f"\n```{{eval-rst}}\n.. autosummary::\n   :nosignatures:\n\n{rows}\n```\n\n"
    title, break_, objects = re.split(r"(\n)(?=## |```\{eval-rst\}\n)", source[0], maxsplit=1)
    source[0] = title + break_ + table + objects


def navigate_titles(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object
) -> None:
    """Make the navigation of a page from titles only; its own contents list its objects."""
    complete, resolved = app.env.tocs, context["toctree"]

    def of_titles(**options: Any) -> str:
        app.env.tocs = titles(app.env)
        try:
            return resolved(**options)  # type: ignore[no-any-return]
        finally:
            app.env.tocs = complete

    context["toctree"] = of_titles


@cache
def titles(env: BuildEnvironment) -> dict[str, bullet_list]:
    """Return the contents of each page without its sections, except of those with other pages."""
    found = {name: toc.deepcopy() for name, toc in env.tocs.items()}
    for toc in found.values():
        if next(toc.findall(toctree), None) is None:
            [title] = toc.children
            title.children = title.children[:1]
    return found


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the handlers."""
    analyse_private_modules()
    app.connect("autodoc-skip-member", skip_member)
    app.connect("autodoc-process-docstring", describe)
    app.connect("missing-reference", resolve, priority=400)  # before intersphinx
    app.connect("source-read", add_summary)
    app.connect("html-page-context", navigate_titles, priority=400)  # before the theme
    return {"parallel_read_safe": True, "parallel_write_safe": True}
