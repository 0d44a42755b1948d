"""The wheel holds what it should and nothing else."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_wheel_holds_the_four_packages_and_their_data(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    packages = {"mechanisms", "attacks", "audit", "reports"}
    # The pytest plugin stands beside them, so that loading it imports none of them.
    assert {top for top in tops if not top.endswith(".dist-info")} == packages | {"unlearn_audit_pytest.py"}
    templates = {path.relative_to(ROOT).as_posix() for path in (ROOT / "reports" / "templates").iterdir()}
    assert templates
    assert templates <= set(names)
    schemas = {path.relative_to(ROOT).as_posix() for path in (ROOT / "reports" / "schema").glob("*.json")}
    assert "reports/schema/result-1.json" in schemas
    assert schemas <= set(names)
    assert {f"{package}/py.typed" for package in ("mechanisms", "attacks", "audit", "reports")} <= set(names)
    assert {"audit/statistics/band_levels.json", "audit/commands/plan_file/example.toml"} <= set(names)
    (entries,) = (name for name in names if name.endswith("entry_points.txt"))
    declared = zipfile.ZipFile(wheel).read(entries).decode()
    assert "unlearn-audit = audit.cli:entry_point" in declared
    assert "[pytest11]\nunlearn_audit_pytest = unlearn_audit_pytest\n" in declared
    # Nothing else: no tests, benchmarks or documentation, no caches, and what is not Python is data of a package.
    assert not [name for name in names if "__pycache__" in name or name.endswith((".pyc", ".so"))]
    kinds = {Path(name).suffix for name in names if ".dist-info/" not in name}
    assert kinds <= {".py", ".typed", ".j2", ".css", ".json", ".toml", ""}
    assert sum(file.file_size for file in zipfile.ZipFile(wheel).infolist()) < 10e6


@pytest.mark.slow
def test_the_source_archive_holds_what_builds_and_tests_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.split("/", 1)[1] for name in opened.getnames() if "/" in name}
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    wanted = {name for name in tracked if not name.startswith(".ci/") and name != ".gitignore"}
    assert wanted <= names
    assert names - wanted <= {"PKG-INFO", ".gitignore"}


def test_the_version_is_the_same_everywhere() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    cited = re.search(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text("utf-8"), re.MULTILINE)
    assert cited is not None
    assert cited[1] == version
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert headings[1].split()[0] == version
