"""What tells two runs apart: plans, mechanisms and code of the user's as plain data, equal in every process."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attacks.registry import ATTACKS
from audit import AuditPlan
from audit.trials.identity import user_files
from audit.trials.identity.described import described
from audit.trials.identity.of_runs import canonical, differences, identity_of
from audit.trials.identity.user_files import files_beside, is_users, packages_digest
from mechanisms import Claim, EpsilonDelta, from_functions, load_named
from mechanisms.logistic import LogisticLangevin
from mechanisms.networks.langevin import NetworkLangevin
from mechanisms.perturbation.newton_removal import NewtonRemoval
from mechanisms.protocol import World
from mechanisms.ridge import ExactDowndate, RidgeLangevin
from mechanisms.ridge.minibatches import RidgeMinibatch

ROOT = Path(__file__).parents[2]
MECHANISMS = (
    RidgeLangevin(sigma_unlearn=0.1),
    RidgeLangevin(sigma_unlearn=0.2),
    ExactDowndate(),
    NetworkLangevin(),
    NewtonRemoval(),
    LogisticLangevin(),
    LogisticLangevin(n_learn=90),
    RidgeMinibatch(batch=8),
    RidgeMinibatch(batch=8, schedule=1),
)


@dataclass(frozen=True)
class Settings:
    noise: float
    weights: np.ndarray
    inner: Any = None


class Plain:
    def __init__(self, **inside: Any) -> None:
        self.__dict__ |= inside


class Slotted:
    __slots__ = ("a", "b")

    def __init__(self, a: int) -> None:
        self.a = a


def scaled(x: float, by: float = 2.0) -> float:
    return x * by


def closed_over(value: Any) -> Any:
    def inner() -> Any:
        return value

    return inner


PAIRS = [
    (1, 2),
    (1, True),
    (1.0, 2.0),
    (1, "1"),
    (float("inf"), float("nan")),
    (np.float64(0.1), np.float64(0.2)),
    ("a", "b"),
    (b"a", b"b"),
    ((1, 2), (2, 1)),
    ({"a": 1}, {"a": 2}),
    ({"a": 1}, {"b": 1}),
    ({(1, 2): 0}, {(2, 1): 0}),
    ({1, 2}, {1, 3}),
    (World.UNLEARNED, World.RETRAINED),
    (np.arange(3), np.arange(4)),
    (np.zeros(4), np.zeros((2, 2))),
    (np.zeros(2), np.zeros(2, dtype=np.float32)),
    (np.array([None, 1], dtype=object), np.array([None, 2], dtype=object)),
    (Settings(1.0, np.zeros(2)), Settings(1.0, np.ones(2))),
    (Settings(1.0, np.zeros(2)), Settings(2.0, np.zeros(2))),
    (Plain(sigma=1), Plain(sigma=2)),
    (Plain(_sigma=1), Plain(_sigma=2)),
    (Slotted(1), Slotted(2)),
    (functools.partial(scaled, by=1.0), functools.partial(scaled, by=2.0)),
    (functools.partial(scaled, 1.0), functools.partial(scaled, 2.0)),
    (closed_over(1), closed_over(2)),
    (closed_over(np.zeros(2)), closed_over(np.ones(2))),
    (lambda x: x + 1, lambda x: x + 2),
    (lambda x=1: x, lambda x=2: x),
    (Slotted(1).__init__, Slotted(2).__init__),
    (len, max),
    (int, float),
    (Path("a"), Path("b")),
    (np, json),
]


@pytest.mark.parametrize(("first", "second"), PAIRS, ids=[f"{a!r:.20} {b!r:.20}" for a, b in PAIRS])
def test_different_values_are_described_differently(first: Any, second: Any) -> None:
    assert json.dumps(described(first)) != json.dumps(described(second))
    assert described(first) == described(first)


def test_objects_that_hold_each_other_are_described() -> None:
    first, second = Plain(sigma=1), Plain(sigma=1)
    first.other, second.other = first, second  # type: ignore[attr-defined]
    assert described(first) == described(second)
    deep: Any = 1
    for _ in range(500):
        deep = [deep]
    json.dumps(described(deep))


def test_what_cannot_be_looked_into_is_told_by_its_type() -> None:
    first, second = np.random.default_rng(0), np.random.default_rng(1)
    assert described(first)["type"] == "numpy.random._generator.Generator"
    assert described(first) == described(second)


def test_mechanisms_and_attacks_are_described_alike_twice_and_apart_from_each_other() -> None:
    texts = [json.dumps(described(value)) for value in (*MECHANISMS, *ATTACKS.values())]
    assert texts == [json.dumps(described(value)) for value in (*MECHANISMS, *ATTACKS.values())]
    assert len(set(texts)) == len(texts)


def test_a_tensor_is_described_by_its_numbers() -> None:
    torch = pytest.importorskip("torch")
    layer, same, other = (torch.nn.Linear(2, 1) for _ in range(3))
    same.load_state_dict(layer.state_dict())
    assert described(layer) == described(same)
    assert described(layer) != described(other)


SCRIPT = """
import functools, json, sys
import numpy as np
from audit.trials.identity.described import described

SIGMA = {sigma}
TABLE = np.arange(3) * SIGMA

def noisy(x):
    return helper(x) + SIGMA

def helper(x):
    return x * {factor}

class Service:
    names = {{"b", "a", "c"}}
    def __init__(self):
        self.names = {{"b", "a", "c", "d"}}
    def learn(self, x):
        return noisy(x)

print(json.dumps(described([functools.partial(noisy, y={{"k": {{3, 1, 2}}}}), Service(), lambda: TABLE])))
"""


def from_a_prompt(sigma: float = 1.0, factor: int = 2, seed: str = "0") -> str:
    """Describe functions that lie in no file, in a process of its own with its own order of sets."""
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
    code = SCRIPT.format(sigma=sigma, factor=factor)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment, cwd=ROOT
    )
    return done.stdout


def test_functions_of_a_notebook_are_described_with_what_they_reach() -> None:
    first = from_a_prompt()
    assert from_a_prompt(seed="1") == first
    assert from_a_prompt(sigma=3.0) != first
    assert from_a_prompt(factor=5) != first


def test_the_users_files_are_those_beside_their_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "their_service"
    package.mkdir()
    (package / "__init__.py").write_text("from their_service import learning\n")
    (package / "learning.py").write_text("import their_helper\n")
    (package / "unused.py").write_text("\n")
    (tmp_path / "their_helper.py").write_text("\n")
    monkeypatch.syspath_prepend(tmp_path)
    __import__("their_service")
    found = files_beside({"their_service.learning", "numpy", "audit.trials.store", "no_such_module"})
    assert list(found) == ["their_helper.py", "their_service/__init__.py", "their_service/learning.py"]
    assert files_beside({"numpy", "audit"}) == {}
    (tmp_path / "their_helper.py").write_text("SIGMA = 1\n")
    again = files_beside({"their_service"})
    assert {name for name in found if again[name] != found[name]} == {"their_helper.py"}
    assert not any(is_users(name) for name in ("numpy", "sklearn.linear_model", "audit", "json", "", None))
    assert is_users("their_helper")


def test_the_packages_digest_changes_with_any_source(tmp_path: Path) -> None:
    assert set(packages_digest()) == {"mechanisms", "attacks", "audit", "reports"}
    (tmp_path / "inside").mkdir()
    digests = set()
    for name, text in (("a.py", "1"), ("inside/b.py", "1"), ("inside/b.py", "2"), ("data.txt", "1")):
        (tmp_path / name).write_text(text)
        digests.add(user_files._tree_digest(tmp_path))
    assert len(digests) == 3


def learn(data: Any, rng: np.random.Generator) -> np.ndarray:
    return data.targets.sum(axis=0) + rng.standard_normal(1)


def unlearn(model: np.ndarray, retained: Any, forget: Any, rng: np.random.Generator, sigma: float) -> np.ndarray:
    return model + sigma * rng.standard_normal(1)


def identity(sigma: float = 1.0, **changes: Any) -> dict[str, Any]:
    data = load_named("diabetes")
    mechanism = from_functions(learn=learn, unlearn=functools.partial(unlearn, sigma=sigma), release=(1,))
    plan = AuditPlan(
        **{
            "claims": (Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=0.1)),),
            "forget": ((3,),),
            "trials": 40,
            **changes,
        }
    )
    return identity_of(mechanism, data, plan, data_sha256="0" * 64)


def test_an_identity_names_the_users_file_and_differs_readably() -> None:
    first = identity()
    assert Path(__file__).relative_to(ROOT).as_posix() in first["code"] or Path(__file__).name in first["code"]
    stored = json.loads(canonical(first))
    assert differences(stored, identity()) == ""
    assert differences(stored, identity(sigma=2.0)) == "mechanism.unlearn.keywords.sigma: stored 1.0, now 2.0"
    assert differences(stored, identity(forget=((4,),))) == "plan.forget[0][0]: stored 3, now 4"
    many = differences(stored, identity(seed=9, trials=60, chunk_size=7, significance=0.01, delta=1e-3))
    assert many.count(";") == 4
    assert many.endswith("; and 1 more")
    changed = json.loads(canonical(first))
    name = next(iter(changed["code"]))
    changed["code"][name] = "0" * 64
    assert differences(stored, changed) == f"code.{name}: changed since"


@dataclass(frozen=True)
class Cached:
    """A frozen dataclass with a value that it computes once."""

    sigma: float
    computed: list[int] = field(default_factory=list, repr=False)

    @functools.cached_property
    def table(self) -> np.ndarray:
        return np.arange(3)


def test_what_a_frozen_object_computes_once_is_no_part_of_it() -> None:
    value = Cached(1.0)
    before = described(value)
    assert value.table.size == 3
    assert described(value) == before
