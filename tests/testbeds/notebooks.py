"""Run the code cells of a notebook in order, with the standard library alone.

`python -m tests.testbeds.notebooks docs/tutorial.ipynb` runs a notebook and stores its outputs in it.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

Output = dict[str, Any]
"""One output of a cell, as the notebook format 4 stores it."""


def read_notebook(path: Path) -> dict[str, Any]:
    """Return the notebook's JSON document."""
    notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return notebook


def code_cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the code cells in order."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def run_cells(notebook: dict[str, Any]) -> list[list[Output]]:
    """Execute the code cells in one namespace and return the outputs of each.

    A cell has at most two outputs: what it prints, and the text of its last line if that is an expression.
    """
    namespace: dict[str, Any] = {"__name__": "__main__"}
    return [_run("".join(cell["source"]), number, namespace) for number, cell in enumerate(code_cells(notebook), 1)]


def _run(source: str, number: int, namespace: dict[str, Any]) -> list[Output]:
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    printed, value = io.StringIO(), None
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, f"cell {number}", "exec"), namespace)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), namespace)
    outputs: list[Output] = []
    text = printed.getvalue()
    if text:
        outputs.append({"name": "stdout", "output_type": "stream", "text": text.splitlines(keepends=True)})
    if value is not None:
        data = {"text/plain": repr(value).splitlines(keepends=True)}
        outputs.append({"data": data, "execution_count": number, "metadata": {}, "output_type": "execute_result"})
    return outputs


def store_outputs(path: Path) -> None:
    """Run the notebook in the current folder and write it back with its outputs."""
    notebook = read_notebook(path)
    for number, (cell, outputs) in enumerate(zip(code_cells(notebook), run_cells(notebook), strict=True), 1):
        cell["execution_count"], cell["outputs"] = number, outputs
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    store_outputs(Path(sys.argv[1]))
