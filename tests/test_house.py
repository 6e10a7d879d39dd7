"""The laws of the house, read from the source."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

import pgreplkit
import pgreplkit.errors
from pgreplkit._public import HOME

ROOT = Path(__file__).parents[1]
ROOM = Path(pgreplkit.__file__).parent
MODULES = sorted(path for path in ROOM.rglob("*.py"))
FACADES = [
    path
    for public in HOME
    for path in [
        ROOM.parent.joinpath(*public.split(".")).with_suffix(".py"),
        ROOM.parent.joinpath(*public.split("."), "__init__.py"),
    ]
    if path.exists()
] + [ROOM / "apply" / "__main__.py"]
"""They only list names, which are defined in any layer, or start a program."""
LAYERS = [
    {"_rooms"},
    {"_hooks", "_public", "_text"},
    {"errors"},
    {"values"},
    {"catalog", "protocol"},
    {"plans", "offline"},
    {"apply", "monitoring"},
    {"driver"},
    {"host"},
    {"_async", "_sync"},
    {"display", "exporters", "lab"},
    {"tour", "testing", "applycommand", "command"},
    {"__main__"},
]
"""Each may import from those before it, and from its own folder."""
SUBJECTS = ["wire", "streams", "server", "logical", "root", "cluster", "mesh"]
"""The folders of _async and _sync, in the order in which they build on each other."""
PURE = {"errors", "values", "catalog", "protocol", "plans", "offline", "apply", "monitoring"}

PUBLIC = {public: import_module(public) for public in HOME}
"""The public modules whose names are loaded on first use."""


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOM))


def folder_of(module: str) -> str:
    return module.split(".")[0]


def layer_of(module: str) -> int:
    return next(level for level, layer in enumerate(LAYERS) if folder_of(module) in layer)


def module_of(path: Path) -> str:
    return name_of(path).removesuffix(".py").replace("/", ".")


def imports(path: Path) -> Iterator[str]:
    return imports_of(ast.parse(path.read_text()), name_of(path))


def imports_of(tree: ast.Module, name: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"a relative import in {name}"
            # A public module re-exports names: the module that defines them counts.
            homes = HOME.get(node.module or "", {})
            for alias in node.names:
                home = homes.get(alias.name)
                yield f"pgreplkit.{home}" if home else node.module or ""


def inner_modules() -> list[Path]:
    return [path for path in MODULES if path not in FACADES]


@pytest.mark.parametrize("path", inner_modules(), ids=name_of)
def test_imports_point_downward(path: Path) -> None:
    own = module_of(path)
    for module in imports(path):
        inner = module.removeprefix("pgreplkit.")
        if inner != module:
            same_folder = folder_of(inner) == folder_of(own)
            assert same_folder or layer_of(inner) < layer_of(own), module


def subject_of(module: str) -> int:
    parts = module.split(".")
    return SUBJECTS.index(parts[1] if parts[1] in SUBJECTS else "root")


@pytest.mark.parametrize("path", sorted(ROOM.glob("_async/**/*.py")), ids=name_of)
def test_subjects_build_on_each_other_in_one_order(path: Path) -> None:
    own = module_of(path)
    for module in imports(path):
        inner = module.removeprefix("pgreplkit.")
        if inner.startswith("_async.") and inner != "_async._io" and path.stem != "__init__":
            assert subject_of(inner) <= subject_of(own), module


@pytest.mark.parametrize("path", inner_modules(), ids=name_of)
def test_pure_layers_import_no_driver(path: Path) -> None:
    if folder_of(module_of(path)) in PURE:
        banned = {"psycopg", "pgtoolkit", "socket", "asyncio", "subprocess"}
        assert not banned & {module.split(".")[0] for module in imports(path)}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_stays_small_and_is_named_for_one_idea(path: Path) -> None:
    # A list of public names grows with their number.
    assert path in FACADES or len(path.read_text().splitlines()) <= 700
    assert path.stem not in {"utils", "helpers", "misc", "common"}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_has_a_docstring(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))


def at_import(tree: ast.Module) -> ast.Module:
    """Return the statements that run when the module is imported, without functions."""
    tree.body = [
        node
        for node in tree.body
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    ]
    return tree


def test_no_modules_import_each_other() -> None:
    """Without a cycle, every module can be imported first."""
    # Python imports a package before its modules, so packages may import these.
    modules = [path for path in inner_modules() if path.stem != "__init__"]
    paths = {f"pgreplkit.{module_of(path)}": path for path in modules}
    graph = {
        module: {*imports_of(at_import(ast.parse(path.read_text())), module)} & {*paths}
        for module, path in paths.items()
    }
    assert len([*TopologicalSorter(graph).static_order()]) == len(paths)


def test_importing_pgreplkit_imports_neither_attrs_nor_psycopg() -> None:
    code = """
import sys
bare = {*sys.modules}
import pgreplkit
pgreplkit.LSN("0/0") + 1
new = {name.partition(".")[0] for name in {*sys.modules} - bare}
assert not new & {"attr", "attrs", "psycopg", "typing", "packaging", "pgtoolkit"}, new
"""
    subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{code}"], check=True
    )


def test_values_work_without_psycopg() -> None:
    code = """
import importlib
import sys
sys.modules["psycopg"] = None
import pgreplkit
from pgreplkit._public import HOME
name = pgreplkit.LSN("4/DF75D0E0").wal_file(timeline=1)
assert str(name) == "0000000100000004000000DF"
for public, homes in HOME.items():
    for value, home in homes.items():
        if home.startswith(("values", "catalog", "plans", "errors")):
            getattr(importlib.import_module(public), value)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_table_of_public_names_is_generated_from_the_lists() -> None:
    command = [sys.executable, "tools/public_names.py", "--check"]
    subprocess.run(command, check=True)


def test_every_public_name_is_defined_and_names_its_public_module() -> None:
    for public, module in PUBLIC.items():
        names = vars(module)["__all__"]
        assert {*names} <= {*dir(module)}
        for name in names:
            value = getattr(module, name)
            if isinstance(value, type):
                # Error is in pgreplkit and, with its subclasses, in pgreplkit.errors.
                assert value.__module__ == ("pgreplkit" if name == "Error" else public), name
    with pytest.raises(AttributeError, match="no_such_name"):
        getattr(pgreplkit, "no_such_name")  # noqa: B009


def test_public_modules_are_attributes_of_the_package() -> None:
    code = "import pgreplkit; assert pgreplkit.errors.Error is pgreplkit.Error; pgreplkit.rows"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_class_names_its_public_module_before_it_is_requested() -> None:
    code = """
import pickle
import pgreplkit
assert b"values" not in pickle.dumps(pgreplkit.LSN("0/5000000").wal_file(timeline=1))
try:
    pgreplkit.LSN("x")
except ValueError as error:
    assert type(error).__module__ == "pgreplkit.errors"
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_is_in_the_reference() -> None:
    reference = "".join(page.read_text() for page in Path("docs/reference").glob("*.md"))
    missing = [
        name
        for public, module in PUBLIC.items()
        for name in vars(module)["__all__"]
        if f" {module.__name__}.{name}\n" not in reference
        and f"{public}.{name}" != "pgreplkit.errors.Error"
    ]
    assert not missing


LONGEST, DEEPEST = 60, 3
"""Lines of a function with its docstring, and levels of blocks within it."""
PARSERS = {"offline", "protocol", "values"}
"""They may be deeper: a format with alternatives is read at one place."""
BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.Match)


def depth_of(node: ast.AST) -> int:
    """Return the levels of blocks below a node; ``elif`` is on the level of its ``if``."""
    deepest = 0
    otherwise = node.orelse if isinstance(node, ast.If) else []
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        is_elif = isinstance(child, ast.If) and otherwise == [child]
        own = isinstance(child, BLOCKS) and not is_elif
        deepest = max(deepest, depth_of(child) + own)
    return deepest


@pytest.mark.parametrize("path", inner_modules(), ids=name_of)
def test_functions_are_short_and_not_nested_deeply(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            assert lines <= LONGEST, f"{node.name}: {lines} lines"
            if folder_of(module_of(path)) not in PARSERS:
                assert depth_of(node) <= DEEPEST, node.name
