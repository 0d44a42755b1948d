"""The import contracts: they hold, and planted violations of every kind are caught."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("mechanisms", "attacks", "audit", "reports")


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
    assert "2 kept, 0 broken" in result.stdout


def test_direct_violation_is_caught(copy: Path) -> None:
    with (copy / "audit" / "statistics" / "bounds.py").open("a") as file:
        file.write("\nfrom mechanisms.accounting import gdp\n")
    result = lint(copy)
    assert result.returncode == 1
    assert "audit.statistics.bounds -> mechanisms.accounting" in result.stdout


def test_lazy_violation_is_caught(copy: Path) -> None:
    with (copy / "mechanisms" / "dataset.py").open("a") as file:
        file.write("\ndef sneak() -> None:\n    import reports\n")
    result = lint(copy)
    assert result.returncode == 1
    assert "mechanisms.dataset -> reports" in result.stdout


def test_indirect_violation_is_caught(copy: Path) -> None:
    (copy / "attacks" / "helper.py").write_text("from mechanisms.ridge import laws\n")
    with (copy / "audit" / "records" / "counts.py").open("a") as file:
        file.write("\nimport attacks.helper\n")
    result = lint(copy)
    assert result.returncode == 1
    assert "audit.records.counts -> attacks.helper" in result.stdout
    assert "attacks.helper -> mechanisms.ridge" in result.stdout


def test_every_statistics_module_is_under_the_contract() -> None:
    """A new module or folder of audit is either a named edge or listed in the independence contract."""
    import tomllib

    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    listed = set(next(c for c in contracts if c["id"] == "independence")["source_modules"])
    edges = {
        "audit.certificates",
        "audit.cli",
        "audit.commands",
        "audit.errors",
        "audit.pytest_plugin",
        "audit.selftest",
    }
    modules = {path.stem for path in (ROOT / "audit").glob("*.py")} - {"__init__"}
    folders = {path.parent.name for path in (ROOT / "audit").glob("*/__init__.py")}
    assert {f"audit.{name}" for name in modules | folders} == listed | edges


def test_importing_is_silent_and_light() -> None:
    """Nothing warns, and nothing heavy is loaded before it is used: that is what keeps ``import audit`` quick."""
    probe = (
        "import sys, audit, attacks, mechanisms, reports; "
        "heavy = {'numpy', 'scipy', 'torch', 'sklearn', 'pydantic', 'matplotlib', 'joblib'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", probe], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
