"""Many networks at once: the same networks as one after the other, where it is quicker, and how they enter audits."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mechanisms import (
    InvalidInputError,
    Reference,
    TorchRecords,
    UserFunctionError,
    World,
    from_torch,
    sample_by_stages,
)

torch = pytest.importorskip("torch")
nn = torch.nn
from torch.utils.data import Subset, TensorDataset  # noqa: E402

from mechanisms.approximate import (  # noqa: E402
    DoesNothing,
    FineTuning,
    LastLayer,
    NegGradPlus,
    RandomLabels,
    Retraining,
    SalUn,
    Scrub,
)
from mechanisms.networks import NetworkTraining, small_cnn, small_mlp  # noqa: E402

SHORT: dict[str, Any] = {"epochs": 1, "batch_size": 8}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def images(n: int = 20, *, doubles: bool = False) -> TensorDataset:
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(n, 1, 8, 8)).astype(np.float32))
    return TensorDataset(x.double() if doubles else x, torch.arange(n) % 10)


def cnn() -> Any:
    return small_cnn(width=2).double()


LEARN = NetworkTraining(network=cnn, **SHORT)
METHODS = {
    "fine_tuning": FineTuning(**SHORT),
    "last_layer": LastLayer(**SHORT),
    "neg_grad_plus": NegGradPlus(**SHORT),
    "random_labels": RandomLabels(**SHORT),
    "retraining": Retraining(learn=LEARN),
    "salun": SalUn(**SHORT),
    "scrub": Scrub(batch_size=8, epochs=1, max_epochs=1),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in ("salun", "scrub") else pytest.mark.slow) for name in METHODS]
)
def test_together_networks_are_those_of_the_same_seeds_one_by_one(name: str) -> None:
    data = images(doubles=True)
    records = TorchRecords(dataset=data)
    service = from_torch(LEARN, METHODS[name], sees="weights")
    stages = service.bind_pool(data, (3, 4))
    assert stages.at_once == 32
    alone = replace(stages, at_once=1)
    found = [one.learn(records, 9, np.random.default_rng(1)) for one in (stages, alone)]
    learned = [one.released(models) for one, models in zip((stages, alone), found, strict=True)]
    np.testing.assert_allclose(*learned, rtol=1e-9, atol=1e-12)
    assert not np.array_equal(learned[0][0], learned[0][1])
    asked = records.without((3, 4)), records.take((3, 4))
    gone = [one.released(one.unlearn(found[1], *asked, np.random.default_rng(2))) for one in (stages, alone)]
    np.testing.assert_allclose(*gone, rtol=1e-8, atol=1e-10)
    assert np.all(np.abs(gone[0] - learned[1]).max(axis=1) > 1e-4)
    # The models that were given stay as they were.
    np.testing.assert_array_equal(alone.released(found[1]), learned[1])


def test_the_sampler_is_the_stages_where_networks_are_made_together() -> None:
    data = images()
    records = TorchRecords(dataset=data)
    learn = NetworkTraining(network=small_mlp, chunk=4, **SHORT)
    evaluate = lambda model: float(model[1].weight.sum())  # noqa: E731
    deletion = from_torch(learn, FineTuning(**SHORT), evaluate=evaluate).bind(data, (3, 4))
    assert deletion.at_once == 4
    for world in (World.UNLEARNED, World.RETRAINED):
        drawn = deletion.sample(world, 6, rng=np.random.default_rng(2))
        by_stages = sample_by_stages(deletion, world, 6, data=records, forget=(3, 4), rng=np.random.default_rng(2))
        np.testing.assert_array_equal(by_stages, drawn)
        watched, models = deletion.sample_with_models(world, 6, rng=np.random.default_rng(2))
        np.testing.assert_array_equal(watched, drawn)
        assert models.prints is not None
        assert len(set(models.prints.tolist())) == 6
        both = deletion.before_and_after(world, 6, rng=np.random.default_rng(2))
        assert both is not None
        np.testing.assert_array_equal(both[1], drawn)
        assert not np.array_equal(both[0], drawn)
        worth = deletion.utility(world, 6, rng=np.random.default_rng(2))
        assert worth is not None
        assert worth.shape == (6,)


def test_a_reference_world_without_unlearning_stops_after_learning() -> None:
    learn = NetworkTraining(network=small_mlp, chunk=4, **SHORT)
    services = [from_torch(learn, m, reference=Reference.RETRAIN_ONLY) for m in (FineTuning(), DoesNothing())]
    drawn = [s.bind(images(), (3,)).sample(World.RETRAINED, 5, rng=np.random.default_rng(0)) for s in services]
    np.testing.assert_array_equal(*drawn)


class _Dropped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, x: Any) -> Any:
        return self.layer(nn.functional.dropout(x.flatten(1), training=self.training))


def test_networks_learn_together_where_it_was_measured_to_be_quicker() -> None:
    data = images(2000)

    def chunk(network: Any, dataset: Any = data, **options: Any) -> int:
        return NetworkTraining(network=network, **options).chunk_for(dataset)

    # benchmarks/many_networks.py: 2.5 times at 32 records a step, 1.2 at 128, and .5 at 512.
    assert [chunk(small_cnn, batch_size=size) for size in (32, 128, 512)] == [32, 32, 1]
    assert chunk(small_mlp, batch_size=2000) == 32
    wide = TensorDataset(torch.zeros(100, 3, 32, 32), torch.zeros(100, dtype=torch.long))
    assert chunk(lambda: small_cnn(channels=3, side=32), wide) == 1
    # What a network draws, or keeps of its batches, is its own.
    for network in (
        _Dropped,
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.BatchNorm1d(10)),
        lambda: nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 10)),
        # Too few outputs: to be named by the one that learns alone.
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 2)),
    ):
        assert chunk(network) == 1
    assert chunk(small_mlp, [data[i] for i in range(20)]) == 1
    assert chunk(small_mlp, Subset(data, range(5))) == 32
    # Networks of 100 MB each do not fit.
    assert chunk(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 400_000), nn.Linear(400_000, 10)), batch_size=1) == 1
    assert chunk(small_mlp, chunk=3) == 3
    state = torch.get_rng_state()
    chunk(small_cnn)
    assert torch.equal(state, torch.get_rng_state())


def test_what_cannot_learn_together_is_refused_where_it_is_asked_for() -> None:
    with pytest.raises(InvalidInputError, match=r"chunk to be 1 for records that are read one by one, got 4"):
        from_torch(NetworkTraining(network=small_mlp, chunk=4), DoesNothing()).bind([*images()], (3,))
    few = NetworkTraining(network=lambda: small_mlp(classes=2))
    with pytest.raises((InvalidInputError, UserFunctionError), match="as many outputs as there are classes"):
        from_torch(few, DoesNothing()).bind(images(), (3,))
    wrong = NetworkTraining(network=lambda: None)  # type: ignore[arg-type,return-value]
    with pytest.raises(InvalidInputError, match=r"what network returns to be a new nn\.Module, got a NoneType"):
        from_torch(wrong, DoesNothing()).bind(images(), (3,))
    with pytest.raises(InvalidInputError, match="side to be a whole number of at least 4, got 3"):
        small_cnn(side=3)
    with pytest.raises(InvalidInputError, match="hidden to be a whole number of at least 1, got 0"):
        small_mlp(hidden=0)


def test_records_that_are_read_one_by_one_give_the_networks_of_tensors() -> None:
    data, learn = images(), NetworkTraining(network=lambda: copy.deepcopy(MADE), **SHORT)
    models = [learn(dataset, torch.Generator().manual_seed(1)) for dataset in (data, [*data], Subset(data, range(20)))]
    for model in models[1:]:
        for p, q in zip(model.parameters(), models[0].parameters(), strict=True):
            assert torch.equal(p, q)


MADE = small_mlp(hidden=4)
