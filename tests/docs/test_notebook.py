"""The notebook of the examples runs, and prints what is stored with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.notebook import executed, read, texts


@pytest.mark.slow
def test_the_notebook_prints_what_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    notebook = read()
    assert notebook["nbformat"] == 4
    stored = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in stored] == list(range(1, len(stored) + 1))
    for cell, outputs in zip(stored, executed(notebook), strict=True):
        assert texts(outputs) == texts(cell["outputs"])
        assert len(outputs) == len(cell["outputs"])
    assert (tmp_path / "first_audit" / "report.html").exists()
    assert any("image/svg+xml" in o.get("data", {}) for cell in stored for o in cell["outputs"])
