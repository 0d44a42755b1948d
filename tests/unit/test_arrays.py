"""One gate for every array that comes in: every way in refuses every bad type, in the same sentence."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge

import audit
from attacks.canary import choose_records
from audit.gathering.split_bound import split_bound
from audit.given.files import read_scores
from audit.statistics.bands import band_p_value
from audit.trials.chunks import sampled, score
from mechanisms.adapters.functions import from_functions
from mechanisms.adapters.released import Predictions, coefficients_of
from mechanisms.claim import Claim, Direction, EpsilonDelta
from mechanisms.dataset import Dataset, from_arrays
from mechanisms.errors import InvalidInputError
from mechanisms.perturbation.output_perturbation import OutputPerturbation
from mechanisms.protocol import Access, ReleaseSpec, World
from mechanisms.reading.arrays import real_numbers
from mechanisms.sources import load_file

N = 30
ONE = Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=1e-5))
GOOD = np.random.default_rng(0).normal(size=N)
DATA = from_arrays(np.random.default_rng(1).normal(size=(N, 2)), GOOD, kind="regression")
SENTENCE = r"Expected .+ to be an array of real numbers, got {}.*; .+"
needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="needs torch: pip install 'unlearn-audit[network]'"
)


def masked(shape: tuple[int, ...]) -> Any:
    mask = np.zeros(shape, dtype=bool)
    mask.flat[0] = True
    return np.ma.array(np.ones(shape), mask=mask)


def ragged(shape: tuple[int, ...]) -> Any:
    rows = np.ones((shape[0] + 1, 2)).tolist()
    rows[0] = [1.0]
    return rows


BAD: dict[str, tuple[Callable[[tuple[int, ...]], Any], str]] = {
    "masked": (masked, r"masked values \(1 of "),
    "masked in lists": (lambda s: list(masked(s)), "masked values"),
    "complex": (lambda s: np.ones(s, dtype=complex), "dtype complex128"),
    "strings": (lambda s: np.full(s, "1.5"), "dtype <U3"),
    "bytes": (lambda s: np.full(s, b"1.5"), "dtype |S3"),
    "dates": (lambda s: np.full(s, np.datetime64("2026-01-01")), r"dtype datetime64\[D\]"),
    "durations": (lambda s: np.full(s, np.timedelta64(3, "s")), r"dtype timedelta64\[s\]"),
    "objects": (lambda s: np.full(s, None), r"dtype object \(NoneType"),
    "bfloat16 as stored": (lambda s: np.zeros(s, dtype="V2"), "dtype |V2"),
    "structured": (lambda s: np.zeros(s, dtype=[("a", float)]), r"dtype \[\('a'"),
    "ragged": (ragged, "rows of unequal length"),
    "a dictionary": (lambda s: {"w": 1.0}, "a dict"),
    "a word": (lambda s: "weights", "a str"),
    "nothing": (lambda s: None, "None"),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Returns:
    """A deletion, an attack and an estimator that answer with what they were given."""

    value: Any
    release: ReleaseSpec = ReleaseSpec(shape=(3,), access=Access.WHITE_BOX)
    coef_: Any = None

    def sample(self, world: World, n: int, *, rng: np.random.Generator) -> Any:
        return self.value

    def score(self, releases: Any) -> Any:
        return self.value

    def decision_function(self, features: Any) -> Any:
        return self.value


def by_functions(value: Any) -> Any:
    mechanism = from_functions(learn=lambda *_: 0, unlearn=lambda *_: value, release=(3,))
    return mechanism.bind(DATA, (0,)).sample(World.UNLEARNED, 1, rng=np.random.default_rng(0))


def by_observe(value: Any) -> Any:
    mechanism = from_functions(learn=lambda *_: 0, unlearn=lambda *_: 0, release=(3,), observe=lambda *_: value)
    return mechanism.bind(DATA, (0,)).sample(World.RETRAINED, 1, rng=np.random.default_rng(0))


def by_sample(value: Any) -> Any:
    return sampled(Returns(value=value), World.UNLEARNED, 3, rng=np.random.default_rng(0), where="here")  # type: ignore[arg-type]


def by_attack(value: Any) -> Any:
    said = score(Returns(value=value), np.zeros((N, 3)))  # type: ignore[arg-type]
    if isinstance(said, str):
        raise ValueError(said)
    return said


def by_removal(value: Any) -> Any:
    mechanism = OutputPerturbation(estimator=Ridge(fit_intercept=False), sigma=1.0, removal=lambda *_: value)
    return mechanism.bind(DATA, (0,))


def by_band(value: Any) -> Any:
    return band_p_value(value, GOOD, point=EpsilonDelta(epsilon=1.0, delta=0.0), direction=DIRECTION)


DIRECTION = Direction.UNLEARNED_FROM_RETRAINED
WAYS: dict[str, tuple[tuple[int, ...], Callable[[Any], Any]]] = {
    "scores, unlearned": ((N,), lambda v: audit.from_scores(v, GOOD, claim=ONE)),
    "scores, retrained": ((N,), lambda v: audit.from_scores(GOOD, v, claim=ONE)),
    "releases given": ((N, 3), lambda v: audit.from_scores(v, np.random.default_rng(3).normal(size=(N, 3)), claim=ONE)),
    "a named column": ((N, 3), lambda v: audit.from_scores(v, GOOD, claim=ONE, column=1)),
    "unlearn": ((3,), by_functions),
    "observe": ((3,), by_observe),
    "sample": ((3, 3), by_sample),
    "an attack's scores": ((N,), by_attack),
    "removal": ((2, 1), by_removal),
    "outputs": ((1, 3), lambda v: Predictions(method="decision_function").of(Returns(value=v), DATA.take((0,)))),
    "probe": (
        (4, 2),
        lambda v: Predictions(method="decision_function", probe=v).of(Returns(value=np.ones(5)), DATA.take((0,))),
    ),
    "coefficients": ((1, 3), lambda v: coefficients_of(Returns(value=None, coef_=v))),
    "features": ((N, 2), lambda v: from_arrays(v, GOOD)),
    "targets": ((N, 1), lambda v: from_arrays(DATA.features, v)),
    "Dataset features": ((N, 2), lambda v: Dataset(name="x", features=v, targets=DATA.targets, kind="regression")),
    "Dataset targets": ((N, 1), lambda v: Dataset(name="x", features=DATA.features, targets=v, kind="regression")),
    "ranking": ((N,), lambda v: choose_records(DATA, penalty=1.0, rules=("hardest",), ranking=v)),
    "split bound": (
        (N,),
        lambda v: split_bound(v, GOOD, delta=0.0, direction=DIRECTION, level=0.05, rng=np.random.default_rng(0)),
    ),
    "band": ((N,), by_band),
}


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("way", WAYS)
def test_every_way_in_refuses_every_bad_type(way: str, kind: str) -> None:
    shape, enter = WAYS[way]
    make, got = BAD[kind]
    if way in ("probe", "ranking") and kind == "nothing":
        pytest.skip("none at all is the default")
    with pytest.raises(Exception, match=SENTENCE.format(got.replace("|", r"\|"))) as caught:
        enter(make(shape))
    assert way == "an attack's scores" or isinstance(caught.value, audit.errors.UnlearnAuditError)


@pytest.mark.parametrize(
    "kind", ["complex", "strings", "bytes", "dates", "durations", "bfloat16 as stored", "structured"]
)
@pytest.mark.parametrize("way", ["X", "y", "scores.npz", "scores.npy"])
def test_files_refuse_them_as_well(tmp_path: Path, way: str, kind: str) -> None:
    make, got = BAD[kind]
    path = tmp_path / way
    if way in ("X", "y"):
        path = tmp_path / "d.npz"
        np.savez(path, **{"X": DATA.features, "y": GOOD} | {way: make((N, 2) if way == "X" else (N,))})
    else:
        (np.savez if way.endswith("z") else np.save)(path, make((N,)))
    with pytest.raises(InvalidInputError, match=SENTENCE.format(got.replace("|", r"\|"))):
        load_file(path) if way in ("X", "y") else audit.from_scores(read_scores(path), GOOD, claim=ONE)


@pytest.mark.parametrize(
    "values",
    [
        np.ma.array([1.0, 2.0, 4.0], mask=False),
        [np.float32(1), 2, 4.0],
        (1.0, np.ma.array(2.0), np.array(4.0)),
        pd.Series([1.0, 2.0, 4.0], index=[5, 7, 9]),
        pd.Series([1, 2, 4], dtype="Int64"),
        np.array([1, 2, 4], dtype=np.float16),
    ],
    ids=lambda v: type(v).__name__,
)
def test_what_means_numbers_is_read(values: Any) -> None:
    read = real_numbers(values, "x")
    assert read.dtype == np.float64
    assert type(read) is np.ndarray
    np.testing.assert_array_equal(read, [1.0, 2.0, 4.0])


def test_tables_are_read_column_by_column() -> None:
    table = pd.DataFrame({"flag": [True, False], "loss": [0.5, 1.5], "n": pd.Series([3, 4], dtype="Int64")})
    np.testing.assert_array_equal(real_numbers(table, "x"), [[1, 0.5, 3], [0, 1.5, 4]])
    with pytest.raises(InvalidInputError, match=r"x, column job to be an array of real numbers"):
        real_numbers(table.assign(job=["a", "b"]), "x")
    assert np.isnan(real_numbers(table.assign(n=pd.Series([3, None], dtype="Int64")), "x")[1, 2])


def test_flags_are_scores_and_whole_numbers_keep_their_value() -> None:
    np.testing.assert_array_equal(real_numbers([True, False], "x"), [1.0, 0.0])
    assert real_numbers(np.array([200], dtype=np.uint8), "x")[0] == 200.0


def test_a_copy_is_a_copy() -> None:
    values = np.ones((2, 3), order="F")
    copied = real_numbers(values, "x", copy=True)
    assert copied.flags.c_contiguous
    assert not np.shares_memory(copied, values)


def test_what_an_object_raises_is_said() -> None:
    class Broken:
        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            raise RuntimeError("no device")

    with pytest.raises(InvalidInputError, match=r"a Broken that numpy cannot read \(RuntimeError: no device\)"):
        real_numbers(Broken(), "x")


@needs_torch
def test_tensors_are_detached_and_widened() -> None:
    import torch

    plain = torch.tensor([1.0, 2.5, -4.0])
    for tensor in (
        plain.requires_grad_(),
        plain.detach().to(torch.bfloat16),
        plain.detach().half(),
        plain.detach().to_sparse(),
        torch.nn.Parameter(plain.detach().double()),
        [value * 1 for value in plain],
    ):
        np.testing.assert_array_equal(real_numbers(tensor, "x"), [1.0, 2.5, -4.0])
    shaped = from_arrays(plain.detach()[:, None], plain)
    np.testing.assert_array_equal(shaped.features[:, 0], shaped.targets[:, 0])


@needs_torch
@pytest.mark.parametrize("way", WAYS)
def test_every_way_in_takes_tensors_and_refuses_complex_ones(way: str) -> None:
    import torch

    shape, enter = WAYS[way]
    with pytest.raises(Exception, match=SENTENCE.format("dtype complex64")):
        enter(torch.ones(shape, dtype=torch.complex64))
    given = np.random.default_rng(2).normal(size=shape)
    tensor = torch.tensor(given, dtype=torch.bfloat16, requires_grad=True)
    enter(tensor)
    with pytest.raises(Exception, match=SENTENCE.format("a Tensor that numpy cannot read")):
        enter(torch.ones(shape, device="meta"))


def test_an_error_in_a_worker_keeps_its_words() -> None:
    import pickle

    with pytest.raises(InvalidInputError) as caught:
        real_numbers(np.ones(3) * 1j, "x")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert re.fullmatch(SENTENCE.format("dtype complex128"), str(caught.value))
    assert replace(Returns(value=1), value=2).value == 2
