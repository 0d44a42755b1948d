"""Models that are still being made: each is counted once, in the order in which it came, and looking is free."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import audit
from audit.errors import SchemaError
from mechanisms import Claim, EpsilonDelta, InvalidInputError
from tests.e2e.command_line import run

Array = NDArray[np.float64]
CLAIM = Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=1e-5))


def make_models(shift: float, n: int = 200) -> tuple[Array, Array]:
    rng = np.random.default_rng(4)
    return rng.normal(shift, 1, (n, 4)), rng.normal(0, 1, (n, 4))


def follow(sides: tuple[Array, Array], n: int, state: Path, **given: object) -> audit.AuditResult:
    options = {"claim": CLAIM, "kind": "scores", **given}
    return audit.follow_models(sides[0][:n], sides[1][:n], state=state, **options)  # type: ignore[arg-type]


def test_files_that_grow_are_counted_on_and_refute_at_some_time(tmp_path: Path) -> None:
    sides = make_models(1.5)
    found = [follow(sides, n, tmp_path / "state.json") for n in (20, 40, 60)]
    verdicts = [result.verdict.value for result in found]
    assert verdicts[0] == "inconclusive"  # so few could not refute it
    assert verdicts[-1] == "refuted"
    # Once refuted, always refuted: nothing is counted any more.
    assert follow(sides, 200, tmp_path / "state.json").findings == found[-1].findings
    assert audit.AuditResult.from_json(found[-1].to_json()) == found[-1]
    history = found[-1].findings[0].history
    assert history is not None
    assert history.refuted_at == history.pairs[-1]


@pytest.mark.slow
def test_what_was_counted_stays_counted_however_the_files_grew(tmp_path: Path) -> None:
    sides = make_models(0.6, 70)
    one, many = tmp_path / "one.json", tmp_path / "many.json"
    for n in (30, 57, 58, 70):
        stepwise = follow(sides, n, many)
    at_once = follow(sides, 70, one)
    first, second = (result.findings[0].tests[0].bound for result in (stepwise, at_once))
    assert (first.counts, first.threshold) == (second.counts, second.threshold)
    # More looks can only have seen more.
    assert stepwise.findings[0].p_value <= at_once.findings[0].p_value
    # The same call again says the same.
    again = follow(sides, 70, many)
    assert again.findings == stepwise.findings


@pytest.mark.parametrize(
    "change", ["value", *(pytest.param(name, marks=pytest.mark.slow) for name in ("order", "fewer"))]
)
def test_models_that_were_counted_must_be_what_they_were(tmp_path: Path, change: str) -> None:
    sides = make_models(0.0, 60)
    follow(sides, 20, tmp_path / "state.json")
    before = (tmp_path / "state.json").read_text(encoding="utf-8")
    other = sides[1].copy()
    if change == "value":
        other[9, 0] += 1e-12
    elif change == "order":
        other[[9, 10]] = other[[10, 9]]
    else:
        other = other[:19]
    with pytest.raises(InvalidInputError, match=r"retrained to be the 20 models that state.json says were counted"):
        follow((sides[0], other), 24, tmp_path / "state.json")
    assert (tmp_path / "state.json").read_text(encoding="utf-8") == before
    follow(sides, 24, tmp_path / "state.json")


@pytest.mark.slow
def test_the_rules_of_the_first_call_hold(tmp_path: Path) -> None:
    sides = make_models(0.0, 60)
    follow(sides, 40, tmp_path / "state.json")
    for given in ({"seed": 3}, {"significance": 0.1}, {"first_fit": 20}, {"most": 100}, {"kind": "loss"}):
        with pytest.raises(InvalidInputError, match=next(iter(given))):
            follow(sides, 60, tmp_path / "state.json", **given)
    other = Claim(guarantee=EpsilonDelta(epsilon=2.0, delta=1e-5))
    with pytest.raises(InvalidInputError, match="claim"):
        follow(sides, 60, tmp_path / "state.json", claim=other)
    (tmp_path / "damaged.json").write_text("{}", encoding="utf-8")
    with pytest.raises(SchemaError, match="following"):
        follow(sides, 60, tmp_path / "damaged.json")
    with pytest.raises(InvalidInputError, match="more than the 16 that fit"):
        follow(sides, 16, tmp_path / "few.json")
    assert json.loads((tmp_path / "state.json").read_text(encoding="utf-8"))["looks"] == [40]


@pytest.mark.slow
def test_the_command_reads_files_that_grow(tmp_path: Path) -> None:
    sides, folder = make_models(1.5), tmp_path / "models"
    folder.mkdir()
    codes = []
    for n in (20, 80):
        for name, side in zip(("unlearned", "retrained"), sides, strict=True):
            np.save(folder / f"{name}.npy", side[:n])
        done = run("models", folder, "--epsilon", "1", "--kind", "scores", "--follow", tmp_path / "state.json")
        codes.append(done.returncode)
    assert codes == [3, 1], done.stderr
    assert "REFUTED" in done.stdout


@pytest.mark.slow
def test_whoever_looks_after_every_pair_refutes_a_true_claim_at_most_at_the_level(tmp_path: Path) -> None:
    """At the boundary: one event, of probability 0.2 and e 0.2 + delta, told apart plainly."""
    from tests.statistical.budget import binomial_limits

    refuted, replicates = 0, 60
    for i in range(replicates):
        rng = np.random.default_rng([3, i])
        sides = tuple(
            np.where(rng.random((100, 1)) < chance, 3.0, -3.0) + 0.1 * rng.normal(size=(100, 2))
            for chance in (np.e * 0.2 + 1e-5, 0.2)
        )
        for n in range(20, 101, 10):
            found = follow((sides[0], sides[1]), n, tmp_path / f"{i}.json", significance=0.2)
        refuted += found.verdict is audit.Verdict.REFUTED
    assert refuted <= binomial_limits(replicates, 0.2)[1]
