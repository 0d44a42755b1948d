"""What a dry run does: everything that is cheap to know, in at most a tenth of what the run would take."""

from __future__ import annotations

import itertools
import sqlite3
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import audit
from attacks import attacks_named
from audit.errors import TrialError
from audit.running.cheap_checks import check_cheaply
from audit.trials.chunks import Stream
from audit.trials.engines import Engine
from audit.trials.storing.opening import database
from mechanisms import Claim, GaussianDP, from_arrays, from_functions
from mechanisms.errors import InvalidInputError
from reports.forecasts.checks import checks_summary

RNG = np.random.default_rng(0)
DATA = from_arrays(RNG.standard_normal((40, 2)), RNG.standard_normal(40), name="noise")


# Trainings of replays, in a count of trainings by the number of records.
REPLAYS = -1


def plan(**options: Any) -> audit.AuditPlan:
    values: dict[str, Any] = {
        "claims": (Claim(guarantee=GaussianDP(mu=0.5)),), "forget": ((3,), (5,)), "attacks": ("lda",), "trials": 120,
    }  # fmt: skip
    return audit.AuditPlan(**{**values, **options})


def counting(trained: Counter[int], **options: Any) -> Any:
    """A mechanism that counts its trainings by the number of records that it learned."""

    def learn(data: Any, rng: np.random.Generator) -> np.ndarray:
        trained[REPLAYS if rng.bit_generator.seed_seq.spawn_key[0] == Stream.REPLAY else len(data)] += 1  # type: ignore[attr-defined]
        return rng.standard_normal(2)

    def unlearn(model: np.ndarray, retained: Any, forget: Any, rng: np.random.Generator) -> np.ndarray:
        return model

    return from_functions(learn=learn, unlearn=unlearn, **{"release": (2,), **options})


def test_a_dry_run_trains_at_most_a_tenth_of_what_the_run_does(monkeypatch: pytest.MonkeyPatch) -> None:
    # As if each training took half a second, so that none is repeated to be timed.
    clock = itertools.count()
    monkeypatch.setattr("audit.power.timing.time.perf_counter", lambda: 0.5 * next(clock))
    checked: Counter[int] = Counter()
    found = check_cheaply(counting(checked), DATA, plan(), engine=Engine())
    trained: Counter[int] = Counter()
    audit.run(counting(trained), DATA, plan())
    assert set(checked) == {39, 40, REPLAYS}
    assert checked.total() <= trained.total() / 10
    assert [control.name for control in found.controls] == ["replay", "replay"]
    assert found.cost is not None
    assert "Replay, all 2: Drawing the same" in checks_summary(found, "plan.toml")


def test_what_cannot_run_is_said_before_a_trial() -> None:
    trained: Counter[int] = Counter()
    with pytest.raises(InvalidInputError, match="attacks"):
        check_cheaply(counting(trained), DATA, plan(attacks=attacks_named("target_loss")), engine=Engine())
    assert not trained
    with pytest.raises(TrialError, match=r"shape \(3,\)"):
        check_cheaply(counting(trained, release=(3,)), DATA, plan(), engine=Engine())


def test_what_cannot_be_replayed_is_said_and_every_replay_is_before_the_first_chunk() -> None:
    order: list[str] = []

    def learn(data: Any, rng: np.random.Generator) -> np.ndarray:
        # The unlearned world's generators are those of replays until the first chunk is drawn.
        order.append("replay" if rng.bit_generator.seed_seq.spawn_key[0] == Stream.REPLAY else "chunk")  # type: ignore[attr-defined]
        return np.random.default_rng().standard_normal(2) if len(data) == 40 else rng.standard_normal(2)

    def unlearn(model: np.ndarray, retained: Any, forget: Any, rng: np.random.Generator) -> np.ndarray:
        return model

    unseeded = from_functions(learn=learn, unlearn=unlearn, release=(2,))
    found = check_cheaply(unseeded, DATA, plan(), engine=Engine())
    assert [control.as_expected for control in found.controls] == [False, False]
    said = " ".join(checks_summary(found, "plan.toml").split())
    assert "2 forget sets cannot be replayed: INCONCLUSIVE, whatever is drawn." in said
    order.clear()

    def steady(data: Any, rng: np.random.Generator) -> np.ndarray:
        order.append("replay" if rng.bit_generator.seed_seq.spawn_key[0] == Stream.REPLAY else "chunk")  # type: ignore[attr-defined]
        return rng.standard_normal(2)

    audit.run(from_functions(learn=steady, unlearn=unlearn, release=(2,)), DATA, plan())
    assert "replay" not in order[order.index("chunk") :]
    assert order.count("replay") == 2 * 6


def test_a_run_that_goes_on_does_not_replay_again(tmp_path: Path) -> None:
    one, trained = plan(forget=((3,),)), Counter[int]()
    whole = audit.run(counting(trained), DATA, one, store=audit.Storage(folder=tmp_path, keep_releases=True))
    assert trained[REPLAYS] == 6
    connection = sqlite3.connect(database(tmp_path))
    with connection:
        connection.execute("DELETE FROM meta WHERE key LIKE 'result%'")
    connection.close()
    again: Counter[int] = Counter()
    # The mechanism of this file is told apart by what it holds: the counter is empty again.
    trained.clear()
    found = audit.run(counting(again), DATA, one, store=tmp_path)
    assert replace(found, environment=whole.environment) == whole
    assert again[REPLAYS] == 0
