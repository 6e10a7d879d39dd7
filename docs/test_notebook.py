"""The cells of the notebooks run, and show what their stored outputs show."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import attrs
import pytest
from notebooks import code_cells, run

from pgreplkit import rows

NOTEBOOKS = sorted(Path(__file__).parent.glob("tutorial/*.ipynb"))


def kinds(outputs: list[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    """Return what an output is, without its figures."""
    return [(output["output_type"], sorted(output.get("data", {}))) for output in outputs]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_the_cells_run_and_show_what_is_stored(path: Path) -> None:
    notebook = json.loads(path.read_text())
    stored = [kinds(cell["outputs"]) for cell in code_cells(notebook)]
    assert [kinds(outputs) for outputs in run(notebook)] == stored
    assert stored


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_the_stored_outputs_have_the_fields_of_today(path: Path) -> None:
    """Store them again with ``python docs/extensions/notebooks.py`` where this fails."""
    outputs = [
        "".join(output["data"]["text/plain"])
        for cell in code_cells(json.loads(path.read_text()))
        for output in cell["outputs"]
    ]
    shown = {
        (name, text)
        for text in outputs
        for name in re.findall(r"\b([A-Z]\w+)\((?=\w+=)", text)
        if name in dir(rows)
    }
    assert {name for name, _ in shown} > {"ClusterNode", "WalSender", "Readiness"}
    for name, text in shown:
        fields = attrs.fields(getattr(rows, name))
        assert [field.name for field in fields if field.repr and f"{field.name}=" not in text] == []
