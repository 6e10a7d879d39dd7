"""Missing packages: errors that name the extra to install."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import pgreplkit
from pgreplkit.errors import Error, ExtraMissing
from pgreplkit.errors.extras import needs_extra

HOME = Path(pgreplkit.__file__).parent
OPTIONAL = {"hypothesis", "matplotlib", "pandas", "polars", "psutil", "rich"}
# A program of its own; the lab has imported psutil before.
EXEMPT = {HOME / "lab" / "_reaper.py"}
PLAIN = """
import sys, ctypes.util
for name in {blocked!r}:
    sys.modules[name] = None
ctypes.util.find_library = lambda name: None
try:
    {statement}
except ImportError as error:
    import pgreplkit.errors
    assert isinstance(error, pgreplkit.errors.ExtraMissing), repr(error)
    print(error)
"""


def printed(statement: str, *blocked: str) -> str:
    code = PLAIN.format(statement=statement, blocked=blocked)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return run.stdout.strip()


@pytest.mark.parametrize(
    ("statement", "package", "extra"),
    [
        ("import pgreplkit.lab", "psutil", "lab"),
        ("import pgreplkit.testing.strategies", "hypothesis", "testing"),
        ("import pgreplkit.tour", "rich", "lab"),
    ],
)
def test_a_missing_package_is_an_error_that_names_the_extra(
    statement: str, package: str, extra: str
) -> None:
    text = printed(statement, package)
    assert text.startswith(f"could not import {package}: ")
    assert text.endswith(f"; run: pip install 'pgreplkit[{extra}]'")


@pytest.mark.parametrize(
    "statement",
    [
        "from pgreplkit import connect",
        "from pgreplkit import AsyncPrimary",
        "from pgreplkit import register",
        "import pgreplkit.lab",
    ],
)
def test_without_libpq_the_error_names_the_extra_binary(statement: str) -> None:
    text = printed(statement, "psycopg_binary", "psycopg_c")
    assert text == (
        "could not import psycopg: no pq wrapper available; run: pip install 'pgreplkit[binary]'"
    )


def test_values_need_no_libpq() -> None:
    code = "import pgreplkit; print(pgreplkit.LSN('0/1'), pgreplkit.TimelineHistory(1).timeline)"
    assert printed(code, "psycopg", "psycopg_binary") == "0/1 1"


def test_a_first_connect_loads_neither_streams_nor_rows_nor_plans() -> None:
    code = "import sys, pgreplkit as p; p.connect, p.aconnect; print(*sys.modules)"
    loaded = printed(code).split()
    assert "pgreplkit._sync.primary" in loaded
    assert "pgreplkit._async.primary" in loaded
    # attrs is only needed by rows: it would be a tenth of the time.
    subjects = ("streams", "cluster", "logical.publication", "logical.subscription")
    later = (
        *("attr", "pgtoolkit", "pgreplkit.plans", "pgreplkit.protocol", "pgreplkit.host"),
        *(f"pgreplkit.{half}.{name}" for half in ("_sync", "_async") for name in subjects),
    )
    assert [name for name in loaded if name.startswith(later)] == []


def test_the_error_is_ours_and_an_import_error() -> None:
    with pytest.raises(ExtraMissing) as missing, needs_extra("lab", "psutil"):
        raise ModuleNotFoundError("No module named 'psutil'", name="psutil")
    assert isinstance(missing.value, Error)
    assert isinstance(missing.value, ImportError)
    assert (missing.value.extra, missing.value.name) == ("lab", "psutil")


def imported(node: ast.AST) -> set[str]:
    if isinstance(node, ast.ImportFrom):
        return {(node.module or "").split(".")[0]}
    names = node.names if isinstance(node, ast.Import) else []
    return {name.name.split(".")[0] for name in names}


def is_for_typing(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def works_without(node: ast.AST) -> bool:
    """Return True for a ``try`` or a function that goes another way without the package."""
    if isinstance(node, ast.FunctionDef):
        return "find_spec(" in ast.unparse(node)
    return isinstance(node, ast.Try) and any(
        handler.type is not None and ast.unparse(handler.type) == "ImportError"
        for handler in node.handlers
    )


def test_every_import_of_an_optional_package_names_its_extra() -> None:
    for path in {*HOME.rglob("*.py")} - EXEMPT:
        text = path.read_text()
        if not any(package in text for package in OPTIONAL):
            continue
        tree = ast.parse(text)
        explained = {
            inner
            for node in ast.walk(tree)
            if isinstance(node, ast.With) and "needs_extra(" in ast.unparse(node.items[0])
            for inner in ast.walk(node)
        }
        ignored = {
            inner
            for node in ast.walk(tree)
            if is_for_typing(node) or works_without(node)
            for inner in ast.walk(node)
        }
        for node in {*ast.walk(tree)} - explained - ignored:
            assert not imported(node) & OPTIONAL, f"{path}: {ast.unparse(node)}"
