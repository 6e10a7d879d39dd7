"""Programs that read annotations find their types: typing, pydantic, FastAPI, Sphinx."""

from __future__ import annotations

import inspect
import subprocess
import sys
import typing
from collections.abc import Iterator
from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest
from fastapi import Depends, FastAPI
from pydantic import ValidationError, validate_call

import pgreplkit
from pgreplkit._public import HOME
from pgreplkit.rows import Rows, WalSender

PUBLIC = [getattr(import_module(public), name) for public, names in HOME.items() for name in names]


def functions_of(kind: type) -> Iterator[Any]:
    for base in kind.__mro__:
        for name, member in vars(base).items():
            found = getattr(member, "__func__", getattr(member, "fget", None))
            found = found or getattr(member, "func", member)
            is_public = name == "__init__" or not name.startswith("_")
            if is_public and inspect.isfunction(found) and found.__module__.startswith("pgreplkit"):
                yield found


def test_annotations_of_all_public_functions_classes_and_methods_resolve() -> None:
    functions = [value for value in PUBLIC if inspect.isfunction(value)]
    classes = [value for value in PUBLIC if inspect.isclass(value)]
    methods = {function for kind in classes for function in functions_of(kind)}
    assert len(functions) > 30
    assert len(methods) > 1000
    for value in (*functions, *classes, *methods):
        hints = typing.get_type_hints(value)
        assert not any(isinstance(hint, str) for hint in hints.values()), value


def test_annotations_resolve_to_the_public_types() -> None:
    assert typing.get_type_hints(pgreplkit.Primary.replicas) == {"return": Rows[WalSender]}
    assert typing.get_type_hints(pgreplkit.AsyncPrimary.slot)["return"] is pgreplkit.AsyncSlot
    assert typing.get_type_hints(pgreplkit.LSN)["MAX"] == typing.ClassVar[pgreplkit.LSN]
    hints = typing.get_type_hints(pgreplkit.Standby.wait_for_replay)
    assert hints["timeout"] == float | timedelta


def test_signatures_of_methods_have_the_names_of_the_source() -> None:
    signature = inspect.signature(pgreplkit.Standby.wait_for_replay)
    assert str(signature) == "(self, lsn: 'LSN', *, timeout: 'Timeout' = 60.0) -> 'LSN'"


@pytest.mark.parametrize(
    "code",
    [
        "typing.get_type_hints(pgreplkit.Primary.replicas)",
        "typing.get_type_hints(pgreplkit.Cluster.plan_switchover)",
        "typing.get_type_hints(pgreplkit.plan_clone)",
        "typing.get_type_hints(pgreplkit.errors.InvalidWal)",
        "typing.get_type_hints(pgreplkit.rows.Readiness.to_dict)",
        "inspect.signature(pgreplkit.AsyncStandby.wait_for_replay, eval_str=True)",
        "inspect.get_annotations(pgreplkit.AsyncSlot.changes, eval_str=True)",
    ],
)
def test_annotations_resolve_in_a_process_that_has_imported_nothing_else(code: str) -> None:
    code = f"import inspect, typing, pgreplkit; {code}"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_pydantic_validates_the_arguments_of_methods_and_functions() -> None:
    slot = validate_call(pgreplkit.Primary.slot)
    with pytest.raises(ValidationError, match="valid string"):
        slot(typing.cast(Any, None), typing.cast(Any, 5))
    parse = validate_call(pgreplkit.parse_wal_name)
    assert parse("00000002.history") == pgreplkit.TimelineHistoryFileName(2)
    compare = validate_call(config={"arbitrary_types_allowed": True})(pgreplkit.compare)
    with pytest.raises(ValidationError, match="instance of Server"):
        compare(typing.cast(Any, None), typing.cast(Any, None))


def test_fastapi_injects_what_a_function_or_class_method_returns() -> None:
    app = FastAPI()

    @app.get("/role")
    def role(_server: typing.Annotated[object, Depends(pgreplkit.Server.connect)]) -> str:
        return ""

    @app.get("/size")
    def size(size: typing.Annotated[object, Depends(pgreplkit.SegmentSize.parse)]) -> str:
        return str(size)

    assert {*app.openapi()["paths"]} == {"/role", "/size"}


def test_a_package_that_is_not_installed_leaves_other_annotations_readable() -> None:
    code = """
import sys, typing
sys.modules |= {"matplotlib": None, "matplotlib.axes": None, "numpy": None, "numpy.typing": None}
from pgreplkit._annotations import NotInstalled
from pgreplkit.rows import WatchSamples
from pgreplkit.wal import WalReader
axes = typing.get_type_hints(WatchSamples.plot)["return"]
assert isinstance(axes, NotInstalled) and axes.__name__ == "Axes"
assert typing.get_type_hints(WatchSamples.plot)["ax"] == axes | None
columns = typing.get_type_hints(WalReader.columns)["return"]
assert typing.get_origin(columns) is dict and columns.__args__[1].__name__ == "NDArray"
"""
    subprocess.run([sys.executable, "-c", code], check=True)
