"""The one way in which arguments are checked."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audit.plan.split import Sequential, Split
from audit.records.counts import Counts
from mechanisms.errors import InvalidInputError, require


def test_an_argument_in_its_range_passes() -> None:
    require(True, "rate", expected="in [0, 1]", got=0.5, fix="give a share")


def test_an_argument_outside_is_named_with_its_range_and_a_fix() -> None:
    with pytest.raises(InvalidInputError) as caught:
        require(False, "rate", expected="in [0, 1]", got=1.5, fix="give a share")
    assert str(caught.value) == "Expected rate to be in [0, 1], got 1.5; give a share."
    said = caught.value
    assert (said.field, said.expected, said.got, said.fix) == ("rate", "in [0, 1]", 1.5, "give a share")


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda nan: Split(max_fit=nan), "counting.max_fit"),
        (lambda nan: Sequential(first_fit=nan), "counting.first_fit"),
        (lambda nan: Counts(k_unlearned=0, n_unlearned=nan, k_retrained=0, n_retrained=1), "n_unlearned"),
    ],
)
def test_nan_is_in_no_range(make: Callable[[Any], object], field: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        make(math.nan)
    assert caught.value.field == field


PACKAGES = ("mechanisms", "attacks", "audit", "reports")


def _raises_by_hand(path: Path) -> list[str]:
    """Return where a ``__post_init__`` raises InvalidInputError itself."""
    text = path.read_text(encoding="utf-8")
    # To read what cannot hold both takes seconds.
    if "__post_init__" not in text or "InvalidInputError" not in text:
        return []
    return [
        f"{path}:{inner.lineno}"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef) and node.name == "__post_init__"
        for inner in ast.walk(node)
        if isinstance(inner, ast.Name) and inner.id == "InvalidInputError"
    ]


def test_fields_are_checked_in_one_way() -> None:
    root = Path(__file__).parents[2]
    files = [path for package in PACKAGES for path in (root / package).rglob("*.py")]
    assert len(files) > 100
    assert [where for path in files for where in _raises_by_hand(path)] == []
