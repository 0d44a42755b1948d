"""A claim a record with models that are still being made: looking is free, and what was counted stays counted."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import audit
from audit.models.following.betting import SoFar, bets_of
from audit.models.following.deletion import ModelsStream
from audit.models.outputs import Outputs
from audit.models.stacks import Stack
from mechanisms import Claim, EpsilonDelta, InvalidInputError
from reports.models.writing import models_summary, write_models
from tests.e2e.command_line import run

Array = NDArray[np.float64]
CLAIM = Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=1e-5))
RECORDS, MODELS = 12, 480


def make_models(left_in: tuple[int, ...] = (3, 7)) -> tuple[Array, NDArray[np.int8], NDArray[np.int8]]:
    """Return outputs, status and kinds of models that forgot nothing of some records."""
    drawn = audit.assign_status(records=RECORDS, models=MODELS, seed=4)
    kept = (drawn.status == 1) & np.isin(np.arange(RECORDS), left_in)
    rng = np.random.default_rng(1)
    outputs = rng.normal(size=drawn.status.shape) + 3.0 * (drawn.status == 2) + 6.0 * kept
    return outputs, drawn.status, drawn.kinds


def follow(made: tuple[Any, ...], n: int, state: Path, **given: Any) -> audit.ModelsResult:
    options = {"claim": CLAIM, "kind": "scores", **given}
    return audit.follow_status(*(part[:n] for part in made), state=state, **options)


def test_records_that_stayed_are_refuted_in_time_and_stay_refuted(tmp_path: Path) -> None:
    made = make_models()
    found = [follow(made, n, tmp_path / "state.json") for n in (100, 300, 470, 480)]
    assert [result.refuted for result in found] == [(), found[1].refuted, (3, 7), (3, 7)]
    assert found[2].verdict.value == "refuted"
    assert set(found[2].listed) == {3, 7}
    for before, after in pairwise(found):
        assert before.records is not None
        assert after.records is not None
        assert all(p >= q for p, q in zip(before.records.p_values, after.records.p_values, strict=True))
    # 470 = 64 + 12 * 32 + 22: the last 22 wait.
    assert "22 models wait" in " ".join(found[2].notes)
    assert (found[2].n_unlearned + found[2].n_retrained) == 448
    assert audit.ModelsResult.from_json(found[2].to_json()) == found[2]
    assert "record 3" in str(found[2]) or "3: p" in str(found[2])
    write_models(found[2], tmp_path / "page")
    assert "REFUTED" in models_summary(found[2])


def test_one_look_says_what_many_do(tmp_path: Path) -> None:
    made = make_models()
    for n in (100, 140, 141, 200):
        many = follow(made, n, tmp_path / "many.json")
    once = follow(made, 200, tmp_path / "once.json")
    assert many.records == once.records
    assert many.some == once.some


def test_outputs_after_a_batch_change_nothing_before_it() -> None:
    """Events and stakes of a batch are chosen by the models before it."""
    outputs, status, kinds = make_models()
    stream = ModelsStream(claim=CLAIM, kind="scores", significance=0.05, seed=0, first_fit=64, most=0, batch=32)

    def capital(values: Array, n: int) -> Array:
        given = Outputs(array=values, kind="scores", labels=None, name="outputs")
        return bets_of(SoFar.of(given, status, kinds == 1, n), stream).log_best

    changed = outputs.copy()
    changed[128:] += 5.0 * np.random.default_rng(0).normal(size=changed[128:].shape)
    assert np.array_equal(capital(outputs, 128), capital(changed, 128))
    assert not np.array_equal(capital(outputs, 160), capital(changed, 160))


@pytest.mark.parametrize("what", ["outputs", "status"])
def test_models_that_were_counted_may_not_change(tmp_path: Path, what: str) -> None:
    made = make_models()
    follow(made, 130, tmp_path / "state.json")
    outputs, status, kinds = (part.copy() for part in made)
    if what == "outputs":
        outputs[70, 2] += 1e-6
    else:
        row = np.flatnonzero(kinds == 1)[0]
        status[row] = np.where(status[row] == 1, 0, status[row])
    with pytest.raises(InvalidInputError, match=r"128 models that state.json says were counted"):
        follow((outputs, status, kinds), 200, tmp_path / "state.json")
    with pytest.raises(InvalidInputError, match=r"at least 96|were counted"):
        follow(made, 90, tmp_path / "state.json")


@pytest.mark.parametrize(
    ("given", "n", "said"),
    [
        ({"first_fit": 16}, 200, "first_fit.*at least 32"),
        ({"batch": 4}, 200, "batch.*at least 8"),
        ({}, 80, "at least 96"),
        ({"significance": 1.5}, 200, "significance"),
    ],
)
def test_what_cannot_be_followed_is_refused(tmp_path: Path, given: dict[str, Any], n: int, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        follow(make_models(), n, tmp_path / "state.json", **given)
    assert not (tmp_path / "state.json").exists()


def test_kinds_that_were_made_one_after_the_other_are_refused(tmp_path: Path) -> None:
    made = make_models()
    order = np.argsort(-made[2], kind="stable")
    with pytest.raises(InvalidInputError, match=r"kinds.*both kinds mixed.*in turn"):
        follow(tuple(part[order] for part in made), MODELS, tmp_path / "state.json")


def test_the_state_of_another_audit_is_refused(tmp_path: Path) -> None:
    made, state = make_models(), tmp_path / "state.json"
    follow(made, 100, state)
    with pytest.raises(InvalidInputError, match=r"batch.*32, that of the first call"):
        follow(made, 100, state, batch=16)
    sides = np.random.default_rng(0).normal(size=(2, 40, 3))
    with pytest.raises(InvalidInputError, match=r"state.*one deletion.*a claim a record"):
        audit.follow_models(*sides, claim=CLAIM, state=state, kind="scores")


def test_the_command_follows_a_table_with_a_status(tmp_path: Path) -> None:
    made, folder = make_models(), tmp_path / "cluster"
    folder.mkdir()
    for n, code in ((120, None), (480, 1)):
        for name, part in zip(("outputs", "status", "kinds"), made, strict=True):
            np.save(folder / f"{name}.npy", part[:n])
        done = run(
            "models", str(folder), "--epsilon=1", "--kind=scores", f"--follow={tmp_path / 'state.json'}",
            f"--out={tmp_path / 'out'}",
        )  # fmt: skip
        assert code is None or done.returncode == code, done.stderr
    assert (tmp_path / "out" / "models.html").is_file()


def test_a_file_a_model_may_wait_for_its_batch(tmp_path: Path) -> None:
    """Models in files of their own say what the same models say in one array."""
    outputs, status, kinds = make_models()
    files = []
    for i, row in enumerate(outputs[:110]):
        np.save(tmp_path / f"{i}.npy", row)
        files.append(tmp_path / f"{i}.npy")
    one = follow((outputs, status, kinds), 110, tmp_path / "one.json")
    many = audit.follow_status(
        Stack.of(files), status[:110], kinds[:110], claim=CLAIM, kind="scores", state=tmp_path / "many.json"
    )
    assert "14 models wait" in " ".join(many.notes)
    assert many.records == one.records
    assert many.verdict is one.verdict


def test_classes_that_models_were_counted_with_may_not_change(tmp_path: Path) -> None:
    """A class turns the sign of what is bet on: others would be chosen by what the first ones showed."""
    made, labels = make_models(), np.arange(RECORDS) % 2
    follow(made, 130, tmp_path / "state.json", kind="logits", labels=labels)
    follow(made, 200, tmp_path / "state.json", kind="logits", labels=labels.astype(np.uint8))
    for other in (1 - labels, None):
        with pytest.raises(InvalidInputError, match=r"labels.* that state\.json says were counted"):
            follow(made, 200, tmp_path / "state.json", kind="logits", labels=other)


@pytest.mark.parametrize("n", [199, 201])
def test_there_is_one_seed_a_model(tmp_path: Path, n: int) -> None:
    outputs, status, kinds = (part[:200] for part in make_models())
    said = rf"seeds.*200, one a model.*got {n}"
    with pytest.raises(InvalidInputError, match=said):
        follow((outputs, status, kinds), 200, tmp_path / "state.json", seeds=range(n))
    with pytest.raises(InvalidInputError, match=said):
        audit.from_status(outputs, status, kinds, claim=CLAIM, kind="scores", seeds=range(n))
