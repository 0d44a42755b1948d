"""The wheel holds what it should and nothing else."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

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
