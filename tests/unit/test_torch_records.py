"""Torch data sets as records: told apart by what they hold, deleted by index, refused where they cannot be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import audit
from mechanisms import Claim, EpsilonDelta, InvalidInputError, TorchRecords, World, from_torch

torch = pytest.importorskip("torch")
nn = torch.nn
from torch.utils.data import DataLoader, IterableDataset, Subset, TensorDataset  # noqa: E402

from tests.unit.torch_networks import images, keep, learn  # noqa: E402

CLAIM = Claim(guarantee=EpsilonDelta(epsilon=0.5, delta=1e-5))


def records_of(dataset: Any, **options: Any) -> TorchRecords:
    return TorchRecords(dataset=dataset, **options)


class _Files(torch.utils.data.Dataset[Any]):
    def __init__(self, transform: Any = None) -> None:
        self.paths, self.targets, self.transform = [f"{i}.png" for i in range(4)], torch.arange(4), transform

    def __len__(self) -> int:
        return 4

    def __getitem__(self, i: int) -> Any:
        return torch.full((2,), float(i)), self.targets[i]


class _Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        yield torch.zeros(1)


def test_records_are_told_from_others_by_what_they_hold() -> None:
    whole, same, other = images(), images(), images()
    other.tensors[0][5, 0, 1, 1] += 1e-3
    assert records_of(whole).sha256() == records_of(same).sha256() != records_of(other).sha256()
    parts = records_of(whole)
    assert parts.take([1, 2]).sha256() != parts.take([2, 1]).sha256()
    assert parts.without([0]).take([0]).sha256() == parts.take([1]).sha256()
    assert parts.without([0]).sha256() == records_of(same).without([0]).sha256()
    assert records_of(Subset(whole, [1, 2, 3])).sha256() != records_of(Subset(whole, [1, 2, 4])).sha256()
    assert "0.1" not in repr(parts)
    assert parts.name == "TensorDataset"


def test_records_that_lie_elsewhere_need_a_digest() -> None:
    with pytest.raises(InvalidInputError, match=r"_Files that holds a text for each record.*TorchRecords\(dataset="):
        records_of(_Files())
    named = records_of(_Files(), digest="of the archive", name="scans")
    assert named.sha256() == "of the archive"
    assert named.take([1]).sha256() not in (named.sha256(), named.take([2]).sha256())
    deletion = from_torch(lambda d, g: nn.Linear(2, 3), keep).bind(named, (1,))
    assert deletion.release.shape == (1, 3)
    held = TensorDataset(torch.zeros(3, 1))
    held.transform = lambda x: x
    with pytest.raises(InvalidInputError, match=r"can be hashed.*lambda.*digest=\.\.\."):
        records_of(held)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (lambda: DataLoader(images()), "got a DataLoader; give the data set itself: loader.dataset"),
        (lambda: torch.zeros(3, 2), r"got a Tensor; make one by torch.utils.data.TensorDataset\(inputs, labels\)"),
        (lambda: np.zeros((3, 2)), "got a ndarray; make one by"),
        (lambda: _Stream(), "got a _Stream; an iterable data set has no positions to delete"),
        (lambda: TensorDataset, "got a type; call it"),
        (lambda: [], "at least one record"),
    ],
)
def test_what_is_no_data_set_is_refused(data: Callable[[], Any], sentence: str) -> None:
    with pytest.raises(InvalidInputError, match=sentence):
        audit.run(from_torch(learn, keep), data(), forget=0, claim=CLAIM, trials=40)


def test_data_that_training_changes_are_named() -> None:
    def scales(dataset: Any, generator: Any) -> nn.Module:
        dataset.dataset.tensors[0].mul_(0.5)
        return nn.Sequential(nn.Flatten(), nn.Linear(9, 3))

    dataset = images()
    deletion = from_torch(scales, keep).bind(dataset, (3,))
    assert deletion.changed_data() == ()
    deletion.sample(World.UNLEARNED, 1, rng=np.random.default_rng(0))
    assert "all records" in deletion.changed_data()


def test_matrices_of_numbers_become_tensors() -> None:
    from mechanisms import load_named

    data = load_named("digits", rows=30)
    seen: list[Any] = []

    def learn(part: Any, generator: Any) -> nn.Module:
        seen.append(part[0])
        return nn.Linear(65, 10)

    deletion = from_torch(learn, keep).bind(data, (3,))
    assert deletion.release.shape == (1, 10)
    x, y = seen[0]
    assert x.dtype is torch.float32
    assert (int(y), y.dtype) == (int(data.targets[0].argmax()), torch.int64)
