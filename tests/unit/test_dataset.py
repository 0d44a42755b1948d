"""Data sets: what is loaded, and that every unusable value is refused with its field, value and fix."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_digits

from mechanisms import sources
from mechanisms.dataset import from_arrays, validate_forget
from mechanisms.errors import InvalidInputError
from mechanisms.sources import load_file, load_named


def test_digits_are_scaled_by_a_constant_and_have_a_column_of_ones() -> None:
    data = load_named("digits")
    assert data.features.shape == (1500, 65)
    assert data.targets.shape == (1500, 10)
    assert data.features.max() == 1.0
    np.testing.assert_array_equal(data.features[:, -1], 1.0)
    np.testing.assert_array_equal(data.targets.sum(axis=1), 1.0)
    assert data.held_out is not None
    assert data.held_out.n_records == 297


@pytest.mark.parametrize("name", ["digits", "diabetes"])
def test_preprocessing_does_not_depend_on_any_record(name: str) -> None:
    """Deleting a record before or after loading gives the same matrices: nothing was fitted on it."""
    short, long = load_named(name, rows=200), load_named(name, rows=300)
    np.testing.assert_array_equal(long.features[:200], short.features)
    np.testing.assert_array_equal(long.targets[:200], short.targets)


def test_diabetes_is_regression_of_order_one() -> None:
    data = load_named("diabetes")
    assert data.kind == "regression"
    assert np.all(np.abs(data.features) < 3)


@pytest.mark.parametrize("shipped", [True, False], ids=["read", "asked for"])
def test_data_that_ship_are_scikit_learns_own(monkeypatch: pytest.MonkeyPatch, shipped: bool) -> None:
    """Read from its files without importing it, and asked of it where the files have moved."""
    sources._raw_digits.cache_clear()
    if not shipped:
        monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    digits, diabetes = sources.load_named("digits", rows=1797), sources.load_named("diabetes", rows=442)
    sources._raw_digits.cache_clear()
    np.testing.assert_array_equal(digits.features[:, :-1], load_digits().data / 16)
    np.testing.assert_array_equal(digits.targets.argmax(axis=1), load_digits().target)
    raw = load_diabetes(scaled=False)
    np.testing.assert_array_equal(diabetes.features[:, :-1], raw.data / sources._DIABETES_UNITS)
    np.testing.assert_array_equal(diabetes.targets[:, 0], raw.target / sources._DIABETES_TARGET_UNIT)


def test_sha256_changes_with_any_value_and_only_then() -> None:
    x, y = np.arange(12.0).reshape(6, 2), np.array([0.5, 1.5, 2.5, 3.5, 4.5, 5.5])
    first = from_arrays(x, y).sha256()
    assert first == from_arrays(x.copy(), y.copy(), name="other").sha256()
    changed = x.copy()
    changed[3, 1] += 1e-12
    assert from_arrays(changed, y).sha256() != first


def test_take_and_without_split_the_records() -> None:
    data = load_named("digits", rows=100)
    assert data.take((3, 5)).n_records == 2
    assert data.without((3, 5)).n_records == 98
    assert data.take(()).features.shape == (0, 65)


def test_csv_and_npz_hold_the_same_data(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 3)), rng.normal(size=20)
    table = tmp_path / "d.csv"
    rows = [",".join(map(repr, map(float, (*row, target)))) for row, target in zip(x, y, strict=True)]
    table.write_text("a,b,c,price\n" + "\n".join(rows) + "\n")
    archive = tmp_path / "d.npz"
    np.savez(archive, X=x, price=y)
    first, second = load_file(table, target="price"), load_file(archive, target="price")
    np.testing.assert_array_equal(first.features, second.features)
    np.testing.assert_array_equal(first.targets, second.targets)
    assert first.features.shape == (20, 4)


BROKEN_CSV = {
    "not_a_number": ("a,y\n1,2\n3,x\n", r"line 3, column y.*'x'.*encode text"),
    "empty_cell": ("a,y\n1,2\n,4\n", r"line 3, column a.*''.*fill empty cells"),
    "nan": ("a,y\n1,2\nnan,4\n5,6\n", r"features\[1, 0\].*nan.*impute"),
    "infinite": ("a,y\n1,2\n3,inf\n5,6\n", r"targets\[1, 0\].*inf.*impute"),
    "ragged": ("a,y\n1,2\n3\n", r"line 3.*2 cells.*got 1.*mend"),
    "no_target": ("a,b\n1,2\n3,4\n", r"data.target.*columns a, b.*'y'.*name the target"),
    "constant_target": ("a,y\n1,2\n3,2\n", r"targets.*two distinct.*constant \[2.0\].*another target"),
    "header_only": ("a,y\n", r"at least one record.*header only.*add records"),
}


@pytest.mark.parametrize("case", BROKEN_CSV)
def test_broken_csv_names_field_value_and_fix(tmp_path: Path, case: str) -> None:
    text, pattern = BROKEN_CSV[case]
    path = tmp_path / "broken.csv"
    path.write_text(text)
    with pytest.raises(InvalidInputError, match=re.compile(pattern, re.DOTALL)):
        load_file(path)


def test_broken_npz(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, X=np.ones((3, 2)), z=np.arange(3.0))
    with pytest.raises(InvalidInputError, match=r"array named y.*got arrays X, z.*data\.target"):
        load_file(path)
    np.savez(path, X=np.ones(3), y=np.arange(3.0))
    with pytest.raises(InvalidInputError, match=r"features.*matrix.*shape \(3,\).*reshape"):
        load_file(path)
    np.savez(path, X=np.ones((3, 2)), y=np.arange(4.0))
    with pytest.raises(InvalidInputError, match=r"targets.*3 rows.*got 4.*align"):
        load_file(path)
    path.write_bytes(b"not an archive")
    with pytest.raises(InvalidInputError, match=r"a\.npz"):
        load_file(path)
    np.savez(path, X=np.array([["a", "b"]], dtype=object), y=np.arange(1.0))
    with pytest.raises(InvalidInputError, match="plain numbers"):
        load_file(path)


def test_unknown_names_and_paths(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"data\.name.*digits, diabetes.*'mnist'"):
        load_named("mnist")
    with pytest.raises(InvalidInputError, match="existing file"):
        load_file(tmp_path / "nowhere.csv")
    (tmp_path / "d.txt").write_text("")
    with pytest.raises(InvalidInputError, match=r"\.csv or \.npz"):
        load_file(tmp_path / "d.txt")
    with pytest.raises(InvalidInputError, match=r"data\.rows.*\[2, 1797\].*5000"):
        load_named("digits", rows=5000)


@pytest.mark.parametrize(
    ("forget", "pattern"),
    [
        ((), "at least one record"),
        ((100,), r"\[0, 99\], got 100"),
        ((-1,), r"got -1"),
        ((3, 3), "distinct"),
        (tuple(range(100)), "proper subset"),
    ],
)
def test_forget_sets_out_of_range(forget: tuple[int, ...], pattern: str) -> None:
    with pytest.raises(InvalidInputError, match=pattern):
        validate_forget(forget, 100)


def test_forget_sets_keep_their_order() -> None:
    assert validate_forget((5, 2), 10) == (5, 2)
