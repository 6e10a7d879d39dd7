"""The public surface follows its rules: names, keywords, timeouts, containers, completion."""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import get_type_hints

import attrs
import jedi  # type: ignore[import-untyped]
import pytest

import pgreplkit
from pgreplkit import AsyncClonePlan, AsyncPlan, ClonePlan, Plan, Timeout, rows
from pgreplkit._public import HOME, SUBMODULES
from pgreplkit.pglogical import PglogicalState, PglogicalSubscription
from pgreplkit.wal import WalRecord

ROOT = Path(__file__).parents[1]
PUBLIC = {
    f"{public}.{name}": getattr(import_module(public), name)
    for public, homes in HOME.items()
    for name in homes
}
CLASSES = {name: value for name, value in PUBLIC.items() if inspect.isclass(value)}
LIST = re.compile(r"\b(?:list|tuple)\[(?:\w+\.)*(\w+)(?:, \.\.\.)?\]")
OLD_KEYWORDS = {"target_dir", "data_dir", "upto_lsn", "every", "dsn", "proofs", "for_", "folder"}
"""Other words for directory, data_directory, stop_at, interval, conninfo, evidence and kind."""
DEFAULTS = {10.0, 60.0, 600.0, None}
"""The defaults of timeouts; see Timeout."""


def functions() -> Iterator[tuple[str, Callable[..., object]]]:
    """Yield every public function, and every public method with its class."""
    for name, value in PUBLIC.items():
        if inspect.isfunction(value):
            yield name, value
    for name, kind in CLASSES.items():
        for attribute in dir(kind):
            member = inspect.getattr_static(kind, attribute)
            member = getattr(member, "__func__", member)
            is_public = attribute == "__init__" or not attribute.startswith("_")
            if is_public and inspect.isfunction(member) and "pgreplkit" in member.__module__:
                yield f"{name}.{attribute}", member


FUNCTIONS = dict(functions())


def test_the_public_names_are_those_that_were_decided() -> None:
    decided = json.loads((ROOT / "tests" / "data" / "public_names.json").read_text())
    assert {public: sorted(homes) for public, homes in HOME.items()} == decided


def test_a_name_is_in_one_public_module() -> None:
    names = [name for homes in HOME.values() for name in homes]
    assert {name for name in names if names.count(name) > 1} == {"Error"}


def test_timeouts_take_seconds_or_a_timedelta_and_have_one_of_the_defaults() -> None:
    for name, function in FUNCTIONS.items():
        for parameter in inspect.signature(function).parameters.values():
            given = parameter.default
            if parameter.name != "timeout" or given is inspect.Parameter.empty:
                continue
            hint = get_type_hints(function)["timeout"]
            assert hint in {Timeout, Timeout | None}, name
            assert given in DEFAULTS, name


def test_one_thing_has_one_keyword() -> None:
    used = {
        name: OLD_KEYWORDS & {*inspect.signature(function).parameters}
        for name, function in FUNCTIONS.items()
    }
    assert {name: words for name, words in used.items() if words} == {}


def test_lists_of_rows_are_tables_in_notebooks_and_in_text() -> None:
    records = {value.__name__ for value in CLASSES.values() if issubclass(value, rows.Record)}
    # The records of WAL files come in batches, of which speed is what counts.
    plain_lists = {
        name: found
        for name, function in FUNCTIONS.items()
        if not name.startswith("pgreplkit.wal.Wal")
        and (found := LIST.search(str(get_type_hints(function).get("return"))))
        and found[1] in records
    }
    assert plain_lists == {}


def test_waits_are_named_wait_for() -> None:
    methods = [name.rpartition(".")[2] for name in FUNCTIONS]
    assert [name for name in methods if name.startswith("wait") and "wait_for_" not in name] == []


def test_only_methods_that_plan_return_plans() -> None:
    plans = {Plan, AsyncPlan, ClonePlan, AsyncClonePlan}
    for name, function in FUNCTIONS.items():
        last = name.rpartition(".")[2]
        returned = get_type_hints(function).get("return")
        assert last.removeprefix("a").startswith("plan_") == (returned in plans), name


def test_a_class_with_items_can_be_iterated_searched_and_counted() -> None:
    for name, kind in CLASSES.items():
        if hasattr(kind, "__getitem__") and not issubclass(kind, str):
            assert {"__iter__", "__contains__", "__len__"} <= {*dir(kind)}, name


def test_a_class_whose_constructor_is_not_for_users_names_what_to_call() -> None:
    public = {*PUBLIC.values()}
    found = {"Cluster", "AsyncCluster", "SequencePlan", "AsyncSequencePlan", "PglogicalNode"}
    # WalRecord is made for each record of the WAL, and as cheap as possible.
    for kind in {*CLASSES.values()} - {WalRecord}:
        parts = [*get_type_hints(kind.__init__).values()]
        private = [
            hint
            for hint in parts
            if inspect.isclass(hint) and "pgreplkit" in hint.__module__ and hint not in public
        ]
        if (private and not issubclass(kind, rows.Record)) or kind.__name__ in found:
            found.add(kind.__name__)
            for given in [(), ("host=db1",), ("a", "b"), ({"a": "host=db1"},)]:
                with pytest.raises(TypeError, match=f"{kind.__name__} is not created by calling"):
                    kind(*given)
    assert len(found) > 35


def test_editors_complete_the_public_names() -> None:
    """IPython and Jupyter complete with jedi, which does not know the name TYPE_CHECKING."""
    for public, homes in HOME.items():
        code = f"import {public}\n{public}."
        offered = {one.name for one in jedi.Script(code).complete()}
        assert {*homes} <= offered


def test_type_checkers_know_the_public_modules_as_attributes_of_the_package() -> None:
    tree = ast.parse(Path(pgreplkit.__file__).read_text())
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "pgreplkit"
        for alias in node.names
    }
    assert imported == {*SUBMODULES}
    assert all(getattr(pgreplkit, name).__name__ == f"pgreplkit.{name}" for name in SUBMODULES)


def test_every_sync_class_and_function_has_an_async_twin_with_the_same_members() -> None:
    halves: dict[str, dict[str, object]] = {"_sync": {}, "_async": {}}
    for public, homes in HOME.items():
        for name, home in homes.items():
            if (half := home.partition(".")[0]) in halves and name != "Evidence":
                halves[half][f"{public}.{name}"] = PUBLIC[f"{public}.{name}"]
    twins = {twin_of(name, value): value for name, value in halves["_sync"].items()}
    assert twins.keys() == halves["_async"].keys()
    for name, value in twins.items():
        assert shape_of(halves["_async"][name]) == shape_of(value), name


def twin_of(name: str, value: object) -> str:
    public, _, last = name.rpartition(".")
    return f"{public}.{'Async' if inspect.isclass(value) else 'a'}{last}"


def shape_of(value: object) -> object:
    """Return the names of the public members and parameters, and the defaults."""
    if inspect.isclass(value):
        return {n: shape_of(getattr(value, n)) for n in dir(value) if not n.startswith("_")}
    if not inspect.isroutine(value):
        return None
    return [(p.name, p.kind, p.default) for p in inspect.signature(value).parameters.values()]


def test_a_timeout_may_be_a_timedelta() -> None:
    from pgreplkit.driver.backoff import Backoff

    assert Backoff(timedelta(milliseconds=1500)).limit == 1.5
    with pytest.raises(ValueError, match="finite and >= 0, got -1"):
        Backoff(timedelta(seconds=-1))


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        (pgreplkit.Slot, rows.SlotState),
        (pgreplkit.Publication, rows.PublicationState),
        (pgreplkit.Subscription, rows.SubscriptionState),
        (PglogicalSubscription, PglogicalState),
    ],
)
def test_the_columns_of_an_object_are_in_its_state_only(kind: type, state: type) -> None:
    assert inspect.signature(kind).parameters["state"].annotation == state.__name__
    assert {"name", "refresh"} <= {*dir(kind)}
    columns = {field.name for field in attrs.fields(state)}
    assert columns & {*dir(kind)} == set()


def flags() -> Iterator[tuple[str, str]]:
    """Yield each argument of a public function that is True or False."""
    for name, function in FUNCTIONS.items():
        owner = CLASSES.get(name.removesuffix(".__init__"))
        # A row says what a server reported, an error what was found; a protocol has no code.
        is_row = owner is not None and attrs.has(owner) and name not in OPTIONS
        is_error = owner is not None and issubclass(owner, Exception)
        if is_row or is_error or name.startswith("pgreplkit.NodeControl."):
            continue
        for parameter in inspect.signature(function).parameters.values():
            if parameter.annotation in {"bool", "bool | None", bool, bool | None}:
                yield name, parameter.name


OPTIONS = {"pgreplkit.SubscriptionOptions.__init__"}
VALID: dict[str, object] = {"name": "a", "publications": ["p"], "strict": True}


def begin(call: object) -> None:
    """Run a coroutine or generator up to its first pause."""
    if inspect.iscoroutine(call):
        call.send(None)
    if inspect.isgenerator(call):
        next(call)


def test_a_flag_that_is_not_a_bool_is_refused_before_anything_else() -> None:
    for name, flag in flags():
        refuse_a_text_as_flag(name, flag)


def refuse_a_text_as_flag(name: str, flag: str) -> None:
    function = FUNCTIONS[name]
    required = [
        parameter.name
        for parameter in inspect.signature(function).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind not in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}
    ]
    owner = CLASSES.get(name.rpartition(".")[0])
    arguments = {name: VALID.get(name) for name in required}
    if required[:1] == ["self"] and owner is not None:
        arguments["self"] = object.__new__(owner)
    with pytest.raises(TypeError, match=f"{flag} must be True or False, not str"):
        begin(function(**{**arguments, flag: "no"}))
