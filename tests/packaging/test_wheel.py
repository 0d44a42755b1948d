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
    assert {top for top in tops if not top.endswith(".dist-info")} == {"mechanisms", "attacks", "audit", "reports"}
    templates = {path.relative_to(ROOT).as_posix() for path in (ROOT / "reports" / "templates").iterdir()}
    assert templates
    assert templates <= set(names)
    assert {f"{package}/py.typed" for package in ("mechanisms", "attacks", "audit", "reports")} <= set(names)
    assert any(name.endswith("entry_points.txt") for name in names)
