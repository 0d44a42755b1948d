"""What is said of data: how targets were read, features that look wrong, learning that has not moved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from audit.records.provenance import data_record
from mechanisms.adapters.observed import ObservedOutputs
from mechanisms.dataset import Dataset, from_arrays
from mechanisms.errors import InvalidInputError
from mechanisms.ridge.langevin import RidgeLangevin
from mechanisms.sources import load_file, load_named

N = 400
X = np.random.default_rng(0).normal(size=(N, 3))
Y = X @ np.ones(3) + np.random.default_rng(1).normal(size=N)


def test_a_kind_that_was_decided_is_said() -> None:
    few = np.where(np.arange(N) < 2, [50.0, -50.0] * (N // 2), 0.0)
    decided = from_arrays(X, few)
    assert decided.kind == "classification"
    assert decided.notes == (
        'targets: 3 distinct whole numbers (-50, 0, 50) are read as class labels; say kind = "regression" if they are '
        "quantities.",
    )
    many = from_arrays(X, np.arange(N) % 60)
    assert many.kind == "regression"
    assert many.notes[0].startswith(
        "targets: 60 distinct whole numbers (0, 1, 2, 3, 4, ...), more than 50, are read as"
    )
    assert from_arrays(X, Y).notes == ()
    assert from_arrays(X, np.eye(4)[np.arange(N) % 4]).notes == ()


@pytest.mark.parametrize("values", [np.arange(N) % 60, np.arange(N) % 2 + 0.5, np.full(N, 7.0), np.arange(N) % 399])
def test_a_kind_that_is_named_is_obeyed(values: np.ndarray) -> None:
    as_classes = from_arrays(X, values, kind="classification")
    assert as_classes.targets.shape == (N, len(np.unique(values)))
    np.testing.assert_array_equal(as_classes.targets.sum(axis=1), 1.0)
    as_numbers = from_arrays(X, values, kind="regression")
    np.testing.assert_array_equal(as_numbers.targets[:, 0], values)
    assert as_classes.notes == as_numbers.notes == ()


def test_classes_of_one_record_each_are_none() -> None:
    with pytest.raises(InvalidInputError, match=r"some of them shared by records, .* got 400 distinct values"):
        from_arrays(X, Y, kind="classification")
    with pytest.raises(InvalidInputError, match=r"one-hot rows, got 3 columns of other numbers"):
        from_arrays(X, X, kind="classification")


def test_a_constant_target_is_allowed_when_it_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r'constant \[1.0\]; .*say kind = "regression" if it is meant'):
        from_arrays(X, np.ones(N))
    assert from_arrays(X, np.ones(N), kind="regression").targets.shape == (N, 1)
    path = tmp_path / "d.csv"
    path.write_text("a,y\n" + "\n".join(f"{i / 7},{int(i > 20)}" for i in range(40)) + "\n")
    assert load_file(path, rows=10, kind="regression").n_records == 10
    with pytest.raises(InvalidInputError, match=r"data\.rows .*two distinct targets"):
        load_file(path, rows=10)


def test_identifiers_and_unlike_units_are_said() -> None:
    rng = np.random.default_rng(2)
    names = ["id", "age", "income", "bmi"]
    table = np.column_stack([rng.permutation(N), X[:, 0], 1e6 * rng.random(N), X[:, 1]])
    identifier, units = from_arrays(table, Y, feature_names=names).notes
    assert identifier.startswith("features: column id: distinct whole numbers, as of an index or ID.")
    assert units.startswith("features: column income: values more than 1,000 times as large as those of the others.")
    assert from_arrays(table, Y).notes[0].startswith("features: column 1: distinct")
    # Repeated whole numbers, a few distinct ones, flags and dead features are features like any other.
    usual = np.column_stack([rng.integers(18, 90, N), rng.integers(0, 2, N), np.zeros(N), 50 * X[:, 0]])
    assert from_arrays(usual, Y).notes == ()
    assert from_arrays(np.arange(19.0)[:, None], Y[:19]).notes == ()
    many = from_arrays(np.arange(8.0 * N).reshape(N, 8), Y).notes[0]
    assert "column 5 and 3 more: distinct" in many


def test_notes_follow_the_records() -> None:
    data = from_arrays(np.column_stack([np.arange(N), X]), Y)
    assert data.notes
    for part in (data.take((1, 2)), data.without((3,))):
        assert part.notes == data.notes
    assert load_named("digits", rows=100).notes == load_named("diabetes").notes == ()


def learned(data: Dataset, **options: float) -> tuple[str, ...]:
    return RidgeLangevin(**options).notes_on(data)  # type: ignore[arg-type]


def test_learning_that_has_not_moved_is_said() -> None:
    """One column takes the step size for itself, and certificates fall by orders of magnitude."""
    usual = load_named("diabetes")
    with_id = from_arrays(
        np.column_stack([np.arange(usual.n_records), usual.features]), usual.targets, kind="regression"
    )
    epsilons = [
        [certificate.epsilon for certificate in RidgeLangevin(sigma_unlearn=0.01).bind(data, (341,)).certificates()]
        for data in (usual, with_id)
    ]
    assert epsilons[0][0] > 0.1
    assert epsilons[1][0] < 1e-6
    assert learned(usual) == ()
    (note,) = learned(with_id)
    assert note.startswith("learning moves in 1.0 of the 8.0 directions that the data determine: 300 steps of size")
    assert data_record(with_id, RidgeLangevin()).notes == (*with_id.notes, note)
    assert data_record(with_id).notes == with_id.notes
    observed = ObservedOutputs(mechanism=RidgeLangevin(), outputs="values", probe=())
    assert data_record(with_id, observed).notes == data_record(with_id, RidgeLangevin()).notes


@pytest.mark.parametrize("name", ["digits", "diabetes"])
def test_the_data_that_ship_are_learned(name: str) -> None:
    for n_learn in (100, 300):
        assert learned(load_named(name), n_learn=n_learn) == ()
    assert learned(load_named(name), n_learn=1) != ()


def test_constant_targets_and_small_steps() -> None:
    assert learned(from_arrays(X, np.ones(N), kind="regression")) == ()
    assert learned(from_arrays(X, Y), n_learn=1000, step_size=1e-9) != ()
    # Features that nothing is learned from, such as dead pixels, are no directions that the data determine.
    dead = np.column_stack([X, np.zeros((N, 50))])
    assert learned(from_arrays(dead, Y)) == ()
