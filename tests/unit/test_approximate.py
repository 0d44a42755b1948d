"""Approximate unlearning beside naive loops without torch's gradients: ten records, one hidden layer, in doubles."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from mechanisms import InvalidInputError, Reference, World, from_torch

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
    Sisa,
)
from mechanisms.networks import NetworkTraining  # noqa: E402

Weights = dict[str, Any]
CLASSES, GONE, KEPT = 3, [7, 2, 5], [0, 1, 3, 4, 6, 8, 9]
SLOW = {"batch_size": 4, "learning_rate": 0.2, "momentum": 0.6}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def records() -> tuple[Any, Any, Any]:
    """Ten records, of which three are to be forgotten: the data set, those that stay, and those."""
    rng = np.random.default_rng(0)
    data = TensorDataset(torch.from_numpy(rng.normal(size=(10, 4))), torch.from_numpy(rng.integers(0, CLASSES, 10)))
    return data, Subset(data, KEPT), Subset(data, GONE)


def network() -> Any:
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, CLASSES)).double()


def generator() -> Any:
    return torch.Generator().manual_seed(3)


# What follows is numpy alone; torch deals the orders and the random classes.


def weights_of(model: Any) -> Weights:
    return {name: p.detach().numpy().copy() for name, p in model.named_parameters()}


def softmax(z: Any) -> Any:
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def answers(w: Weights, x: Any) -> tuple[Any, Any]:
    hidden = np.tanh(x @ w["0.weight"].T + w["0.bias"])
    return hidden, hidden @ w["2.weight"].T + w["2.bias"]


def gradient(w: Weights, x: Any, by_logits: Any) -> Weights:
    """Push the derivative by the logits back through the network."""
    hidden, _ = answers(w, x)
    by_hidden = (by_logits @ w["2.weight"]) * (1 - hidden**2)
    return {
        "0.weight": by_hidden.T @ x,
        "0.bias": by_hidden.sum(0),
        "2.weight": by_logits.T @ hidden,
        "2.bias": by_logits.sum(0),
    }


def cross_entropy(w: Weights, x: Any, y: Any) -> Weights:
    """Return the gradient of the mean cross-entropy."""
    return gradient(w, x, (softmax(answers(w, x)[1]) - np.eye(CLASSES)[y]) / len(x))


def divergence(w: Weights, before: Weights, x: Any) -> Weights:
    """Return the gradient of the mean divergence of the answers before from those now."""
    return gradient(w, x, (softmax(answers(w, x)[1]) - softmax(answers(before, x)[1])) / len(x))


def added(*terms: tuple[float, Weights]) -> Weights:
    return {name: sum(factor * g[name] for factor, g in terms) for name in terms[0][1]}


class Sgd:
    def __init__(self, w: Weights) -> None:
        self.w, self.pull = w, {name: np.zeros_like(value) for name, value in w.items()}

    def step(self, g: Weights) -> None:
        for name, value in g.items():
            self.pull[name] = SLOW["momentum"] * self.pull[name] + value
            self.w[name] = self.w[name] - SLOW["learning_rate"] * self.pull[name]


def dealt(n: int, g: Any) -> list[list[int]]:
    """One epoch in batches of four; a last batch of one joins the one before."""
    order = torch.randperm(n, generator=g).tolist()
    found = [order[i : i + 4] for i in range(0, n, 4)]
    if len(found) > 1 and len(found[-1]) == 1:
        found[-2:] = [found[-2] + found[-1]]
    return found


def arrays(positions: Any) -> tuple[Any, Any]:
    data = records()[0]
    return data.tensors[0].numpy()[positions], data.tensors[1].numpy()[positions]


X_KEPT, Y_KEPT = arrays(KEPT)
X_GONE, Y_GONE = arrays(GONE)


def naive_fine_tuning(model: Any, g: Any) -> Weights:
    sgd = Sgd(weights_of(model))
    for _ in range(2):
        for batch in dealt(7, g):
            sgd.step(cross_entropy(sgd.w, X_KEPT[batch], Y_KEPT[batch]))
    return sgd.w


def naive_last_layer(model: Any, g: Any) -> Weights:
    torch.manual_seed(5)
    fresh = nn.Linear(5, CLASSES, dtype=torch.float64)
    sgd = Sgd(weights_of(model) | {"2.weight": fresh.weight.detach().numpy(), "2.bias": fresh.bias.detach().numpy()})
    for _ in range(2):
        for batch in dealt(7, g):
            found = cross_entropy(sgd.w, X_KEPT[batch], Y_KEPT[batch])
            sgd.step({name: found[name] for name in ("2.weight", "2.bias")})
    return sgd.w


def naive_neg_grad(model: Any, g: Any) -> Weights:
    sgd, left = Sgd(weights_of(model)), []
    for _ in range(2):
        for batch in dealt(7, g):
            if not left:
                left = dealt(3, g)
            gone = left.pop(0)
            sgd.step(
                added(
                    (0.8, cross_entropy(sgd.w, X_KEPT[batch], Y_KEPT[batch])),
                    (-0.2, cross_entropy(sgd.w, X_GONE[gone], Y_GONE[gone])),
                )
            )
    return sgd.w


def naive_scrub(model: Any, g: Any) -> Weights:
    before, sgd = weights_of(model), Sgd(weights_of(model))
    for epoch in range(3):
        if epoch < 2:
            for gone in dealt(3, g):
                sgd.step(added((-1.0, divergence(sgd.w, before, X_GONE[gone]))))
        for batch in dealt(7, g):
            x, y = X_KEPT[batch], Y_KEPT[batch]
            sgd.step(added((0.9, cross_entropy(sgd.w, x, y)), (0.4, divergence(sgd.w, before, x))))
    return sgd.w


def naive_random_labels(model: Any, g: Any, mask: Weights | None = None) -> Weights:
    away = torch.randint(1, CLASSES, (3,), generator=g).numpy()
    x, y = np.concatenate([X_KEPT, X_GONE]), np.concatenate([Y_KEPT, (Y_GONE + away) % CLASSES])
    assert np.all(y[7:] != Y_GONE)
    sgd = Sgd(weights_of(model))
    for _ in range(2):
        for batch in dealt(10, g):
            found = cross_entropy(sgd.w, x[batch], y[batch])
            sgd.step(found if mask is None else {name: found[name] * mask[name] for name in found})
    return sgd.w


def naive_salun(model: Any, g: Any) -> Weights:
    found = cross_entropy(weights_of(model), X_GONE, Y_GONE)
    sizes = np.sort(np.concatenate([np.abs(value).ravel() for value in found.values()]))
    least = sizes[-int(0.3 * len(sizes))]
    mask = {name: (np.abs(value) >= least).astype(float) for name, value in found.items()}
    assert sum(m.sum() for m in mask.values()) == int(0.3 * len(sizes))
    return naive_random_labels(model, g, mask)


METHODS: dict[str, tuple[Any, Any]] = {
    "fine_tuning": (FineTuning(epochs=2, **SLOW), naive_fine_tuning),
    "last_layer": (LastLayer(epochs=2, **SLOW), naive_last_layer),
    "neg_grad_plus": (NegGradPlus(epochs=2, retain_weight=0.8, **SLOW), naive_neg_grad),
    "scrub": (Scrub(epochs=3, max_epochs=2, loss_weight=0.9, near_weight=0.4, **SLOW), naive_scrub),
    "random_labels": (RandomLabels(epochs=2, **SLOW), naive_random_labels),
    "salun": (SalUn(epochs=2, share=0.3, **SLOW), naive_salun),
    "nothing": (DoesNothing(), lambda model, g: weights_of(model)),
}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_its_naive_loop(name: str) -> None:
    method, naive = METHODS[name]
    torch.manual_seed(1)
    model = network()
    expected = naive(copy.deepcopy(model), generator())
    torch.manual_seed(5)
    found = method(copy.deepcopy(model), *records()[1:], generator())
    for key, value in expected.items():
        np.testing.assert_allclose(weights_of(found)[key], value, atol=1e-6, rtol=0)
    moved = any(not np.array_equal(weights_of(model)[key], value) for key, value in expected.items())
    assert moved == (name != "nothing")


def learned_naively(w: Weights, positions: Any, g: Any) -> Weights:
    x, y = arrays(positions)
    sgd = Sgd(w)
    for _ in range(2):
        for batch in dealt(len(x), g):
            sgd.step(cross_entropy(sgd.w, x[batch], y[batch]))
    return sgd.w


def test_retraining_learns_anew() -> None:
    learn = NetworkTraining(network=network, epochs=2, **SLOW)
    torch.manual_seed(1)
    expected = learned_naively(weights_of(network()), KEPT, generator())
    torch.manual_seed(1)
    found = Retraining(learn=learn)(None, *records()[1:], generator())  # type: ignore[arg-type]
    for key, value in expected.items():
        np.testing.assert_allclose(weights_of(found)[key], value, atol=1e-6, rtol=0)


def test_shards_are_learned_apart_and_only_those_of_the_request_again() -> None:
    sisa = Sisa(member=NetworkTraining(network=network, epochs=2, **SLOW), shards=4)
    data, kept, gone = records()
    torch.manual_seed(1)
    whole = sisa.learn(data, generator())
    # Naively: the shard of each record, and a network for each shard that is not empty.
    g = generator()
    shard_of = torch.randint(4, (10,), generator=g).tolist()
    torch.manual_seed(1)
    members = {
        shard: learned_naively(weights_of(network()), [i for i in range(10) if shard_of[i] == shard], g)
        for shard in sorted(set(shard_of))
    }

    def check(ensemble: Any) -> None:
        assert set(ensemble.members) == {str(shard) for shard in members}
        x = data.tensors[0]
        with torch.no_grad():
            shown = softmax(ensemble(x).numpy())
        mean = np.mean([softmax(answers(w, x.numpy())[1]) for w in members.values()], axis=0)
        np.testing.assert_allclose(shown, mean, atol=1e-6, rtol=0)

    check(whole)
    touched = sorted({shard_of[i] for i in GONE})
    assert 0 < len(touched) < len(members)
    g = torch.Generator().manual_seed(8)
    torch.manual_seed(2)
    for shard in touched:
        left = [i for i in KEPT if shard_of[i] == shard]
        members.pop(shard)
        if left:
            members[shard] = learned_naively(weights_of(network()), left, g)
    torch.manual_seed(2)
    check(sisa.unlearn(whole, kept, gone, torch.Generator().manual_seed(8)))


def test_methods_know_batch_norm_and_requests_of_one_record_or_none() -> None:
    data = records()[0]
    data = TensorDataset(data.tensors[0].float(), data.tensors[1])
    for method, _ in METHODS.values():
        for indices in ([7], []):
            model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Dropout(0.1), nn.Linear(5, CLASSES))
            stays = Subset(data, [i for i in range(10) if i not in indices])
            found = method(model, stays, Subset(data, indices), generator())
            assert all(bool(torch.isfinite(p).all()) for p in found.parameters())


@pytest.mark.parametrize("name", ["fine_tuning", "salun", "last_layer"])
def test_methods_are_services_and_a_seed_gives_one_network(name: str) -> None:
    learn = NetworkTraining(network=lambda: network().float(), epochs=1, batch_size=4)
    data = TensorDataset(*(t.float() if t.is_floating_point() else t for t in records()[0].tensors))
    service = from_torch(learn, METHODS[name][0], reference=Reference.RETRAIN_ONLY)
    deletion = service.bind(data, tuple(GONE))
    for world in World:
        first, again = (deletion.sample(world, 9, rng=np.random.default_rng(1)) for _ in range(2))
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first[0], first[1])


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: FineTuning(epochs=0), "epochs to be a whole number of at least 1, got 0"),
        (lambda: FineTuning(learning_rate=float("inf")), "learning_rate to be positive and finite, got inf"),
        (lambda: RandomLabels(momentum=1.0), r"momentum to be in \[0, 1\), got 1.0"),
        (lambda: NegGradPlus(retain_weight=0), r"retain_weight to be in \(0, 1\], got 0"),
        (lambda: Scrub(epochs=2, max_epochs=3), "max_epochs to be from 0 to 2, the epochs in all, got 3"),
        (lambda: Scrub(near_weight=-1), "near_weight to be at least 0 and finite"),
        (lambda: SalUn(share=1.5), r"share to be in \(0, 1\], got 1.5"),
        (lambda: LastLayer(batch_size=2.5), "batch_size to be a whole number"),  # type: ignore[arg-type]
        (lambda: Sisa(member=network(), shards=3), "member to be a function, got a Sequential"),
        (lambda: Sisa(member=network, shards=1), "shards to be a whole number of at least 2, got 1"),
        (lambda: Retraining(learn=None), "learn to be a function, got a NoneType"),  # type: ignore[arg-type]
        (lambda: NetworkTraining(network=network()), "network to be a function that builds a network"),
        (lambda: NetworkTraining(network=network, chunk=0), "chunk to be at least 1, or None, got 0"),
    ],
)
def test_arguments_out_of_range_are_refused(make: Any, sentence: str) -> None:
    with pytest.raises(InvalidInputError, match=f"(?s)^Expected {sentence}.*;"):
        make()


def test_what_cannot_be_unlearned_is_named() -> None:
    data, kept, gone = records()
    with pytest.raises(InvalidInputError, match=r"layer with weights \(0, 2\), got fc; name one of them"):
        LastLayer(layer="fc")(network(), kept, gone, generator())
    with pytest.raises(InvalidInputError, match=r"what Sisa\.learn returns, got a Sequential"):
        Sisa(member=network).unlearn(network(), kept, gone, generator())
    one_output = nn.Sequential(nn.Linear(4, 1)).double()
    with pytest.raises(InvalidInputError, match="as many outputs as there are classes"):
        FineTuning()(one_output, kept, gone, generator())
    values = TensorDataset(data.tensors[0], data.tensors[1].double())
    with pytest.raises(InvalidInputError, match=r"classes to be one whole number a record, got torch\.float64"):
        FineTuning()(network(), Subset(values, KEPT), Subset(values, GONE), generator())
    with pytest.raises(InvalidInputError, match=r"a pair \(input, class\), got a dict"):
        FineTuning()(network(), [{"x": 1}], [], generator())
