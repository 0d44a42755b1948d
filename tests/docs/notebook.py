"""The notebook of the examples: its cells run here in order; ``python tests/docs/notebook.py`` stores what they print.

Written out here, without Jupyter: cells are Python, their text is what they print and the value of their last line.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "examples" / "first_audit.ipynb"


def read() -> dict[str, Any]:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert isinstance(notebook, dict)
    return notebook


def executed(notebook: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
    """Run the cells of code in the current folder; give the outputs of each."""
    import matplotlib as mpl

    mpl.use("Agg")
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            yield _outputs("".join(cell["source"]), namespace)


def texts(outputs: list[dict[str, Any]]) -> str:
    """Return what a reader of the cell's text sees."""
    return "".join("".join(o.get("text", o.get("data", {}).get("text/plain", ""))) for o in outputs)


def _outputs(source: str, namespace: dict[str, Any]) -> list[dict[str, Any]]:
    body = ast.parse(source).body
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(ast.Module(body, []), "cell", "exec"), namespace)
        value = eval(compile(ast.Expression(last.value), "cell", "eval"), namespace) if last else None
    outputs: list[dict[str, Any]] = []
    if printed.getvalue():
        outputs.append({"name": "stdout", "output_type": "stream", "text": _lines(printed.getvalue())})
    if value is not None:
        data = {name: _lines(text) for name, text in _shown(value).items()}
        outputs.append({"data": data, "execution_count": None, "metadata": {}, "output_type": "execute_result"})
    return outputs


def _shown(value: Any) -> dict[str, str]:
    if hasattr(value, "savefig"):
        # Its repr has sizes in pixels of the screen.
        return {"image/svg+xml": _svg(value), "text/plain": "<Figure>"}
    made = {"text/plain": repr(value)}
    return made | ({"text/html": value._repr_html_()} if hasattr(value, "_repr_html_") else {})


def _svg(figure: Any) -> str:
    import matplotlib as mpl

    drawn = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "notebook"}):
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    return re.sub(r"\A.*?(?=<svg)", "", drawn.getvalue(), flags=re.DOTALL)


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def store() -> None:
    """Run the notebook in an empty folder and keep it with its outputs."""
    notebook = read()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        made = list(executed(notebook))
    cells = (cell for cell in notebook["cells"] if cell["cell_type"] == "code")
    for number, (cell, outputs) in enumerate(zip(cells, made, strict=True), 1):
        cell["execution_count"] = number
        for output in outputs:
            if "execution_count" in output:
                output["execution_count"] = number
        cell["outputs"] = outputs
    NOTEBOOK.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.path.insert(0, os.fspath(ROOT))
    store()
