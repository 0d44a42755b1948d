"""Fingerprints of models: equal for equal ones however they are held, different for different ones, never loaded."""

from __future__ import annotations

import collections
import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from mechanisms.adapters.models import OpaqueModelError, fingerprint, numbers_of


@dataclass
class Layer:
    weights: np.ndarray
    name: str = "layer"
    above: Any = None


@dataclass
class Tensor:
    """As far as a tensor is looked at: on a device, with a gradient, perhaps of a type that numpy lacks."""

    values: np.ndarray
    is_bfloat: bool = False

    def detach(self) -> Tensor:
        return self

    def cpu(self) -> Tensor:
        return self

    def float(self) -> Tensor:
        return Tensor(values=self.values)

    def numpy(self) -> np.ndarray:
        if self.is_bfloat:
            raise TypeError("Got unsupported ScalarType BFloat16")
        return self.values


@dataclass
class Module:
    """A network with a state dict, and with hooks that cannot be stored."""

    weights: Tensor
    hooks: list[Any] = field(default_factory=lambda: [lambda: None])

    def state_dict(self) -> dict[str, Tensor]:
        return collections.OrderedDict(weights=self.weights)


def estimator(seed: int, state: Any) -> Any:
    from sklearn.tree import DecisionTreeRegressor

    rng = np.random.default_rng(seed)
    return DecisionTreeRegressor(random_state=state).fit(rng.normal(size=(20, 2)), rng.normal(size=20))


def make(kind: str, seed: int) -> Any:
    x = np.random.default_rng(seed).standard_normal((4, 3))
    makers = {
        "array": lambda: x,
        "columns": lambda: np.asfortranarray(x),
        "float32": lambda: x.astype(np.float32),
        "scalar": lambda: float(x[0, 0]),
        "complex": lambda: x[:2] + 1j * x[2:],
        "list": lambda: [x, {"bias": x[0]}],
        "object": lambda: Layer(weights=x),
        "objects": lambda: np.array([Layer(weights=x), None], dtype=object),
        "state dict": lambda: {"a": Tensor(values=x), "b": Tensor(values=x, is_bfloat=True)},
        "module": lambda: Module(weights=Tensor(values=x)),
        "set": lambda: (x, {"one", "two", "three"}),
        "deque": lambda: collections.deque([x, 2.0]),
        "estimator": lambda: estimator(seed, 0),
    }
    return makers[kind]()


KINDS = (
    *("array", "columns", "float32", "scalar", "complex", "list", "object", "objects", "deque", "set", "estimator"),
    *("module", "state dict"),
)


@pytest.mark.parametrize("kind", KINDS)
def test_equal_models_have_equal_fingerprints_and_others_have_not(kind: str) -> None:
    first = make(kind, 1)
    assert fingerprint(first) == fingerprint(make(kind, 1))
    if kind != "module":
        assert fingerprint(first) == fingerprint(copy.deepcopy(first))
    prints = {fingerprint(make(kind, seed)) for seed in range(1, 30)}
    assert len(prints) == 29
    assert len(numbers_of(first)) > 0


def test_what_says_nothing_of_a_model_is_left_out() -> None:
    """The generator that an estimator drew from, what parts share, and the padding of its nodes."""
    first, second = estimator(3, 0), estimator(3, 0)
    second.set_params(random_state=np.random.RandomState(2))
    assert fingerprint(first) == fingerprint(second)
    assert fingerprint([1.0, np.random.default_rng(1)]) == fingerprint([1.0, np.random.default_rng(2)])
    shared = np.ones(2)
    assert fingerprint([shared, shared]) == fingerprint([np.ones(2), np.ones(2)])
    nodes = np.zeros(3, dtype=np.dtype({"names": ["x", "y"], "formats": ["f8", "u1"], "itemsize": 16}))
    padded = nodes.copy()
    padded.view(np.uint8).reshape(3, 16)[:, 12] = 7
    assert fingerprint(nodes) == fingerprint(padded)


def test_a_model_may_hold_itself() -> None:
    layers = []
    for value in (1.0, 1.0, 2.0):
        layer = Layer(weights=np.full(2, value))
        layer.above = layer
        layers.append(fingerprint(layer))
    assert layers[0] == layers[1] != layers[2]


@pytest.mark.parametrize(
    "model", ["model.pt", 7, None, [1, "two"], lambda: 1.0, (1.0, lambda: 2.0), (x for x in (1.0,)), {1.0: open}]
)
def test_models_without_numbers_that_can_be_seen_are_opaque(model: Any) -> None:
    if isinstance(model, dict):
        assert isinstance(fingerprint(model), int)
        return
    with pytest.raises(OpaqueModelError):
        fingerprint(model)


def test_nothing_is_ever_loaded() -> None:
    class Trap:
        def __reduce_ex__(self, protocol: int) -> Any:
            return exec, ("raise SystemExit(3)",), {"w": 1.0}

    assert isinstance(fingerprint(Trap()), int)


def test_torch_networks_are_told_apart_by_their_state_dicts() -> None:
    torch = pytest.importorskip("torch")

    def network(value: float, kind: Any) -> Any:
        net = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU(), torch.nn.Linear(2, 1)).to(kind)
        for weights in net.parameters():
            torch.nn.init.constant_(weights, value)
        return net

    for kind in (torch.float32, torch.float64, torch.bfloat16):
        first, same, other = network(0.5, kind), network(0.5, kind), network(0.25, kind)
        assert fingerprint(first) == fingerprint(same) != fingerprint(other)
        assert fingerprint(first.state_dict()) == fingerprint(same.state_dict()) != fingerprint(other.state_dict())
        # 3 x 2 + 2 + 2 x 1 + 1 weights, with their gradients left out.
        assert numbers_of(first).tolist() == [0.5] * 11
    first(torch.ones(1, 3, dtype=torch.bfloat16)).sum().backward()
    assert fingerprint(first) == fingerprint(same)
