"""The laws of the house, read from the source."""

from __future__ import annotations

import ast
import functools
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
] + [ROOM / "apply" / "__main__.py", ROOM / "feeds" / "__main__.py"]
"""They only list names, which are defined in any layer, or start a program."""
LAYERS = [
    {"_annotations", "_rooms"},
    {"_hooks", "_public", "_text"},
    {"errors"},
    {"values"},
    {"catalog", "protocol"},
    {"plans", "offline"},
    {"apply", "feeds", "monitoring"},
    {"driver", "sinks"},
    {"host"},
    {"_async", "_sync"},
    {"display", "exporters", "lab", "supervised"},
    {"tour", "testing", "applycommand", "command", "feedcommand"},
    {"__main__"},
]
"""Each may import from those before it, and from its own folder."""
SUBJECTS = ["wire", "streams", "server", "logical", "root", "cluster", "mesh", "feeds"]
"""The folders of _async and _sync, in the order in which they build on each other."""
PURE = {
    "errors",
    "values",
    "catalog",
    "protocol",
    "plans",
    "offline",
    "apply",
    "feeds",
    "monitoring",
}

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


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@functools.cache
def imports(path: Path) -> list[str]:
    return [*imports_of(tree_of(path), name_of(path))]


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


def inner_imports(path: Path) -> list[str]:
    """Return the imports of a module from the package, by their names within it."""
    here = "pgreplkit."
    return [module.removeprefix(here) for module in imports(path) if module.startswith(here)]


def test_imports_point_downward() -> None:
    wrong = [
        (own, inner)
        for path in inner_modules()
        for own in [module_of(path)]
        for inner in inner_imports(path)
        if folder_of(inner) != folder_of(own) and layer_of(inner) >= layer_of(own)
    ]
    assert not wrong


def subject_of(module: str) -> int:
    parts = module.split(".")
    return SUBJECTS.index(parts[1] if parts[1] in SUBJECTS else "root")


def test_subjects_build_on_each_other_in_one_order() -> None:
    modules = [path for path in ROOM.glob("_async/**/*.py") if path.stem != "__init__"]
    wrong = [
        (own, inner)
        for path in modules
        for own in [module_of(path)]
        for inner in inner_imports(path)
        if inner.startswith("_async.") and inner != "_async._io"
        if subject_of(inner) > subject_of(own)
    ]
    assert modules
    assert not wrong


def test_pure_layers_import_no_driver() -> None:
    banned = {"psycopg", "pgtoolkit", "socket", "asyncio", "subprocess"}
    wrong = [
        (module_of(path), module)
        for path in inner_modules()
        if folder_of(module_of(path)) in PURE
        for module in imports(path)
        if module.split(".")[0] in banned
    ]
    assert not wrong


CHOICES = (ast.If, ast.IfExp, ast.Match, ast.BoolOp, ast.Compare, ast.comprehension, ast.For)
"""A function with one of these decides something; others only hold values, or pass them on."""


def decides(tree: ast.Module) -> bool:
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    return any(isinstance(node, CHOICES) for function in functions for node in ast.walk(function))


def test_each_pure_module_that_decides_has_a_test_module_of_its_name() -> None:
    untested = [
        name_of(path)
        for path in inner_modules()
        if folder_of(module_of(path)) in PURE and path.stem != "__init__" and decides(tree_of(path))
        if not (ROOT / "tests" / path.relative_to(ROOM)).with_stem(f"test_{path.stem}").exists()
    ]
    assert not untested


def test_a_module_stays_small_and_is_named_for_one_idea() -> None:
    # A list of public names grows with their number.
    lines = {path: len(path.read_text().splitlines()) for path in MODULES if path not in FACADES}
    assert not [f"{name_of(path)}: {count} lines" for path, count in lines.items() if count > 700]
    vague = {"utils", "helpers", "misc", "common"}
    assert not [name_of(path) for path in MODULES if path.stem in vague]


def test_a_log_record_has_one_line() -> None:
    """Errors of libpq and output of programs have several lines; one_line() joins them."""
    calls = [
        (name_of(path), node)
        for path in MODULES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and ast.unparse(node.func.value).lower() in {"_log", "_logger"}
        and node.func.attr in {"debug", "info", "warning", "error", "exception"}
    ]
    assert len(calls) > 30
    raw = {"error", "found", "failure", "str(error)"}
    arguments = [
        (name, text)
        for name, node in calls
        for argument in node.args[1:]
        for text in ast.unparse(argument).strip("*()").split(", ")
    ]
    joined = [text for _, text in arguments if text.startswith("one_line(")]
    assert len(joined) > 10
    assert [one for one in arguments if one[1] not in joined and one[1].split(".")[-1] in raw] == []


def test_every_module_has_a_docstring() -> None:
    assert not [name_of(path) for path in MODULES if not ast.get_docstring(tree_of(path))]


def at_import(tree: ast.Module) -> ast.Module:
    """Return the statements that run when the module is imported, without functions."""
    body = [
        node
        for node in tree.body
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    ]
    return ast.Module(body, [])


def test_no_modules_import_each_other() -> None:
    """Without a cycle, every module can be imported first."""
    # Python imports a package before its modules, so packages may import these.
    modules = [path for path in inner_modules() if path.stem != "__init__"]
    paths = {f"pgreplkit.{module_of(path)}": path for path in modules}
    graph = {
        module: {*imports_of(at_import(tree_of(path)), module)} & {*paths}
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


def test_a_first_connect_imports_neither_attrs_nor_rows() -> None:
    """attrs alone would cost a tenth of the import of psycopg; the rows need it."""
    code = """
import sys
import pgreplkit
pgreplkit.connect
names = {"attr", "pgreplkit.catalog.server.senders", "pgreplkit._sync.streams"}
assert not names & {*sys.modules}, names & {*sys.modules}
"""
    subprocess.run([sys.executable, "-c", code], check=True)


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


def functions() -> Iterator[tuple[Path, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for path in inner_modules():
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield path, node


def test_functions_are_short() -> None:
    lines = {
        f"{name_of(path)}: {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path, node in functions()
    }
    assert not {name: count for name, count in lines.items() if count > LONGEST}


def test_functions_are_not_nested_deeply() -> None:
    deep = [
        f"{name_of(path)}: {node.name}"
        for path, node in functions()
        if folder_of(module_of(path)) not in PARSERS and depth_of(node) > DEEPEST
    ]
    assert not deep
