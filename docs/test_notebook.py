"""The cells of the notebooks run, and show what their stored outputs show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from notebooks import code_cells, run

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
