"""A Sphinx extension that shows a notebook with its stored outputs, and code that executes one.

A page contains ``% notebook: NAME.ipynb``; the cells of that file take the place of this line.
Executed as a program, this module runs the cells of notebooks and stores their outputs:
``python docs/extensions/notebooks.py docs/tutorial/explore.ipynb``. No Jupyter is needed.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

MARK = re.compile(r"^% notebook: (\S+)$", re.MULTILINE)


def run(notebook: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
    """Execute the code cells in one namespace; yield the outputs of each as Jupyter stores them."""
    namespace: dict[str, object] = {"__name__": "__main__"}
    for number, cell in enumerate(code_cells(notebook), start=1):
        body = ast.parse("".join(cell["source"])).body
        last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(ast.Module(body, []), f"cell {number}", "exec"), namespace)
            value = None
            if last is not None:
                expression = ast.Expression(last.value)
                value = eval(compile(expression, f"cell {number}", "eval"), namespace)
        outputs: list[dict[str, Any]] = []
        if text := printed.getvalue():
            outputs.append({"output_type": "stream", "name": "stdout", "text": lines(text)})
        if value is not None:
            result = {"output_type": "execute_result", "execution_count": number, "metadata": {}}
            outputs.append({**result, "data": shown(value)})
        yield outputs


def shown(value: Any) -> dict[str, list[str]]:
    """Return the representations of a value that Jupyter shows."""
    data = {"text/plain": lines(repr(value))}
    if hasattr(value, "_repr_html_") and (html := value._repr_html_()):
        data["text/html"] = lines(html)
    return data


def lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def code_cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def as_markdown(notebook: dict[str, Any]) -> str:
    """Return a notebook with its stored outputs as a page in Markdown."""
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            data = output.get("data", {})
            if html := data.get("text/html"):
                parts.append(f"````{{raw}} html\n<div>{''.join(html)}</div>\n````")
            else:
                text = "".join(data.get("text/plain") or output["text"])
                parts.append(f"```text\n{text}\n```")
    return "\n\n".join(parts)


def show(app: Sphinx, docname: str, source: list[str]) -> None:
    """Put the cells of a notebook into the page that names it."""

    def cells(mark: re.Match[str]) -> str:
        path = Path(app.srcdir, docname).parent / mark[1]
        app.env.note_dependency(str(path))
        return as_markdown(json.loads(path.read_text()))

    source[0] = MARK.sub(cells, source[0])


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the handler."""
    app.connect("source-read", show)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def main(paths: list[str]) -> None:
    """Execute notebooks, and store the outputs in their files."""
    for path in map(Path, paths):
        notebook = json.loads(path.read_text())
        for number, outputs in enumerate(run(notebook)):
            cell = code_cells(notebook)[number]
            cell["execution_count"], cell["outputs"] = number + 1, outputs
        path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
