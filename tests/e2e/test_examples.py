"""The examples run as a user runs them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_audit_my_mechanism_tells_the_true_claim_from_the_false_one() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "audit_my_mechanism.py"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    careful, careless = done.stdout.splitlines()
    assert careful.startswith("careful")
    assert "NOT REFUTED" in careful
    assert careless.startswith("careless")
    assert " REFUTED" in careless
    assert "NOT REFUTED" not in careless
