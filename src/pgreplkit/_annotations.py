"""Annotations whose names are imported when something reads them.

Modules import most names of their annotations for type checkers only, since importing the modules
of all rows and plans would cost a first connect more than psycopg itself. Programs that read
annotations (typing.get_type_hints, pydantic, FastAPI, Sphinx) look the names up in the module.
"""

import sys

# Importing typing or contextlib would cost more than the rest of this module.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from _collections_abc import dict_items, dict_keys, dict_values
    from collections.abc import Iterator

_completed: set[str] = set()
"""Modules whose names for type checkers have been imported."""


class Annotations(dict[str, object]):
    """The annotations of a function or class; reading them imports their names first.

    The annotations of a method stay text, as signatures are readable with it. Those of a public
    class or function become types: its ``__module__`` is the public module, in which some programs
    would look for the names.
    """

    __slots__ = ("_home", "_is_done")

    def __init__(self, found: dict[str, object], home: str, *, stay_text: bool) -> None:
        super().__init__(found)
        self._home, self._is_done = home, stay_text

    def __iter__(self) -> "Iterator[str]":
        self._complete()
        return super().__iter__()

    def keys(self) -> "dict_keys[str, object]":
        self._complete()
        return super().keys()

    def values(self) -> "dict_values[str, object]":
        self._complete()
        return super().values()

    def items(self) -> "dict_items[str, object]":
        self._complete()
        return super().items()

    def __getitem__(self, name: str) -> object:
        self._complete()
        return super().__getitem__(name)

    def get(self, name: str, default: object = None) -> object:
        self._complete()
        return super().get(name, default)

    def _complete(self) -> None:
        names = vars(sys.modules[self._home])
        if self._home not in _completed:
            _import_names(names)
            _completed.add(self._home)
        if self._is_done:
            return
        for name, text in super().items():
            if isinstance(text, str):
                self[name] = eval(text, names)  # noqa: S307
        self._is_done = True


class NotInstalled(type):
    """A type of a package that is not installed, such as Axes of matplotlib."""

    def __getattr__(cls, name: str) -> type:
        # Attributes with an underscore are those by which typing tells kinds of types apart.
        if name.startswith("_"):
            raise AttributeError(name)
        return NotInstalled(name, (), {})

    def __getitem__(cls, _item: object) -> type:
        return cls


def _import_names(names: dict[str, object]) -> None:
    """Import what a module imports for type checkers."""
    import ast
    import inspect

    try:
        tree = ast.parse(inspect.getsource(sys.modules[str(names["__name__"])]))
    except OSError:  # A distribution without source files.
        return
    blocks = [block for block in tree.body if isinstance(block, ast.If)]
    blocks = [block for block in blocks if ast.unparse(block.test) == "TYPE_CHECKING"]
    for statement in [statement for block in blocks for statement in block.body]:
        imported: dict[str, object] = {}
        try:
            exec(ast.unparse(statement), names, imported)  # noqa: S102
        except ImportError:
            missing = [node for node in ast.walk(statement) if isinstance(node, ast.alias)]
            imported = {
                alias.asname or alias.name: NotInstalled(alias.name, (), {}) for alias in missing
            }
        for name, value in imported.items():
            names.setdefault(name, value)


def defer(value: object) -> None:
    """Let annotations of a public class or function import their names when they are read."""
    if not isinstance(value, type):
        _defer_function(value, stay_text=False)
        return
    for kind in [kind for kind in value.__mro__ if kind.__module__.startswith("pgreplkit")]:
        for member in vars(kind).values():
            _defer_member(member)
        found = vars(kind).get("__annotations__", {})
        if type(found) is dict and any(isinstance(text, str) for text in found.values()):
            kind.__annotations__ = Annotations(found, kind.__module__, stay_text=False)


def _defer_member(member: object) -> None:
    _defer_function(member, stay_text=True)
    # Of a property, a cached property, and a class or static method.
    for name in ("fget", "func", "__func__"):
        _defer_function(getattr(member, name, None), stay_text=True)


def _defer_function(function: object, *, stay_text: bool) -> None:
    if type(function) is not type(defer):
        return
    inner = function
    while hasattr(inner, "__wrapped__"):
        inner = inner.__wrapped__
    names, found = inner.__globals__, function.__annotations__
    if found and type(found) is dict and (not stay_text or "TYPE_CHECKING" in names):
        function.__annotations__ = Annotations(found, names["__name__"], stay_text=stay_text)
