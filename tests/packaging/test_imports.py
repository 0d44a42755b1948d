"""The import contracts: they hold, and planted violations of every kind are caught."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.packaging import house

ROOT = Path(__file__).parents[2]
PACKAGES = house.PACKAGES
# 18 today, and two rooms to come.
MOST_ENTRIES = 20
# What runs a user's code, asks accounting or renders.
EDGES = {
    "audit.certificates",
    "audit.cli",
    "audit.commands",
    "audit.errors",
    "audit.pytest_plugin",
    "audit.selftest",
}
# What mechanisms and the auditor's statistics both use: nothing in it computes a certificate.
SHARED = {"mechanisms.adapters", "mechanisms.claim", "mechanisms.reading", "mechanisms.serving"}


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    command = "import sys; sys.path.insert(0, '.'); from importlinter.cli import lint_imports_command as c; c()"
    return subprocess.run(
        [sys.executable, "-c", command, "--no-cache"], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for name in PACKAGES:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_contracts_hold(copy: Path) -> None:
    result = lint(copy)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "3 kept, 0 broken" in result.stdout


def plant(file: Path, text: str) -> None:
    with file.open("a") as opened:
        opened.write(text)


def test_violations_of_every_kind_are_caught(copy: Path) -> None:
    """Direct, lazy, indirect, and upwards inside audit: all planted at once, each is named."""
    plant(copy / "audit" / "statistics" / "bounds.py", "\nfrom mechanisms.accounting import gdp\n")
    plant(copy / "mechanisms" / "dataset.py", "\ndef sneak() -> None:\n    import reports\n")
    plant(copy / "attacks" / "helper.py", "from mechanisms.ridge import laws\n")
    plant(copy / "audit" / "records" / "counts.py", "\nimport attacks.helper\n")
    upwards = "\ndef sneak() -> None:\n    from audit.running import runner\n"
    plant(copy / "audit" / "statistics" / "smoothing.py", upwards)
    result = lint(copy)
    assert result.returncode == 1
    assert "Inside audit, imports go down BROKEN" in result.stdout
    for chain in (
        "audit.statistics.bounds -> mechanisms.accounting",
        "mechanisms.dataset -> reports",
        "audit.records.counts -> attacks.helper",
        "attacks.helper -> mechanisms.ridge",
        "audit.statistics.smoothing -> audit.running.runner",
    ):
        assert chain in result.stdout, chain


def test_new_room_must_be_given_its_place(copy: Path) -> None:
    (copy / "audit" / "cellar").mkdir()
    (copy / "audit" / "cellar" / "__init__.py").write_text('"""New."""\n')
    result = lint(copy)
    assert result.returncode == 1
    assert "cellar" in result.stdout


def test_no_circles() -> None:
    graph = house.build(ROOT)
    assert len(graph.modules) > 200
    assert house.file_circles(graph) == ()
    assert [folder.path for folder in house.folders(ROOT) if folder.circles] == []


def test_circle_is_caught(tmp_path: Path) -> None:
    """In packages of other names: a process builds a graph from what it has imported already."""
    for name, text in (("one", "from {0} import two"), ("two", "def f():\n    from {0} import three"), ("three", "")):
        for package in ("straight", "round"):
            folder = tmp_path / f"house_{package}"
            folder.mkdir(exist_ok=True)
            (folder / "__init__.py").touch()
            (folder / f"{name}.py").write_text(text.format(f"house_{package}") + "\n")
    (tmp_path / "house_round" / "three.py").write_text("from house_round import one\n")
    graph = house.build(tmp_path, ("house_straight", "house_round"))
    assert house.file_circles(graph) == (("house_round.one", "house_round.three", "house_round.two"),)
    assert house.floors(house.room_arrows(graph, "house_straight")) == 3
    assert house.circles(house.room_arrows(graph, "house_round")) == (
        ("house_round.one", "house_round.three", "house_round.two"),
    )


def test_folders_show_few_entries() -> None:
    crowded = {folder.path: len(folder.entries) for folder in house.folders(ROOT) if len(folder.entries) > MOST_ENTRIES}
    assert crowded == {}


def test_every_room_of_audit_is_an_edge_or_under_the_independence_contract() -> None:
    listed = set(contract(ROOT, "independence")["source_modules"])
    modules = {path.stem for path in (ROOT / "audit").glob("*.py")} - {"__init__"}
    rooms = {path.parent.name for path in (ROOT / "audit").glob("*/__init__.py")}
    assert {f"audit.{name}" for name in modules | rooms} == listed | EDGES


def test_every_folder_of_mechanisms_is_forbidden_or_shared(copy: Path) -> None:
    assert unclassified(ROOT) == set()
    (copy / "mechanisms" / "tables" / "deep").mkdir(parents=True)
    (copy / "mechanisms" / "tables" / "__init__.py").touch()
    (copy / "mechanisms" / "tables" / "deep" / "__init__.py").touch()
    assert unclassified(copy) == {"mechanisms.tables", "mechanisms.tables.deep"}


def contract(root: Path, name: str) -> dict[str, Any]:
    contracts = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    return next(found for found in contracts if found["id"] == name)


def unclassified(root: Path) -> set[str]:
    """Return the folders of mechanisms that are neither forbidden to the statistics nor shared with them."""
    forbidden = set(contract(root, "independence")["forbidden_modules"])
    folders = {path.parent.relative_to(root) for path in (root / "mechanisms").rglob("__init__.py")}
    names = {".".join(folder.parts) for folder in folders} - {"mechanisms"}
    known = forbidden | SHARED
    return {name for name in names if not any(name == k or name.startswith(f"{k}.") for k in known)}


def test_importing_is_silent_and_light() -> None:
    """Nothing warns, and nothing heavy is loaded before it is used: that is what keeps ``import audit`` quick."""
    probe = (
        "import sys, audit, attacks, mechanisms, reports; "
        "heavy = {'numpy', 'scipy', 'torch', 'sklearn', 'pydantic', 'matplotlib', 'joblib'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", probe], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
