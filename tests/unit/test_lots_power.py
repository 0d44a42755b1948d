"""What an audit by lot could show: ceilings, power held against audits that were run, and the command."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.special import ndtri

import audit
from audit.cli import guarded, main
from audit.lots.power import forecast_lots, rehearsed
from audit.statistics.bounds import ceiling
from mechanisms import Claim, EpsilonDelta, UpTo
from mechanisms.errors import InvalidInputError
from reports.lots.forecast import comparison
from tests.statistical.budget import binomial_limits


def test_ceilings_and_models_of_two_worlds() -> None:
    found = forecast_lots(candidates=200, epsilon=1.0, aucs=(0.9,))
    assert found.ceiling == pytest.approx(100 * math.log(2) + math.log(0.05 - 1e-5))
    half = found.two_worlds // 2
    assert ceiling(n_null=half, level=0.025, delta=1e-5) >= 1.0 > ceiling(n_null=half - 1, level=0.025, delta=1e-5)
    assert found.powers[0].power == 1.0
    assert found.powers[0].runs_needed == 1
    several = forecast_lots(candidates=200, runs=16, epsilon=1.0, aucs=(0.9,))
    assert several.ceiling == pytest.approx(100 * math.log(2), rel=0.02)


def test_power_is_that_of_audits_that_are_run() -> None:
    m, auc, replicates = 100, 0.65, 200
    (foreseen,) = forecast_lots(candidates=m, epsilon=0.5, aucs=(auc,)).powers
    claim = Claim(guarantee=EpsilonDelta(epsilon=0.5, delta=1e-5), covers=UpTo(k=m))
    rng, apart, refuted = np.random.default_rng(9), math.sqrt(2) * float(ndtri(auc)), 0
    for _ in range(replicates):
        coins = rng.random(m) < 0.5
        scores = rng.standard_normal(m) + apart * coins
        refuted += audit.from_lots(scores, coins, claim=claim).verdict is audit.Verdict.REFUTED
    low, high = binomial_limits(replicates, foreseen.power)
    assert low <= refuted <= high
    assert 0.1 < foreseen.power < 0.95


def test_more_models_show_more_where_candidates_are_weak() -> None:
    one, many = (forecast_lots(candidates=200, runs=n, epsilon=0.3, aucs=(0.58,)).powers[0] for n in (1, 32))
    assert many.power > one.power
    assert many.detectable >= 0


def test_bad_numbers() -> None:
    for options, field in (
        ({"candidates": 1}, "--lots"),
        ({"candidates": 10, "runs": 0}, "--runs"),
        ({"candidates": 10, "aucs": (0.4,)}, "--auc"),
        ({"candidates": 10, "guesses": 11}, "--guesses"),
    ):
        with pytest.raises(InvalidInputError, match=field):
            forecast_lots(epsilon=1.0, **options)  # type: ignore[arg-type]


def test_the_command() -> None:
    done = CliRunner().invoke(main, ["power", "--lots", "200", "--runs", "1", "--epsilon", "1"])
    assert done.exit_code == 0, done.output
    words = " ".join(done.output.split())
    assert "200 candidates" in words
    assert "Ceiling: no claim above" in words
    assert "Two worlds need at least" in words
    as_json = CliRunner().invoke(main, ["power", "--lots", "40", "--epsilon", "1", "--auc", "0.8", "--json"])
    assert json.loads(as_json.output)["schema"] == "unlearn-audit/lots-forecast/1"
    assert guarded(["power", "--lots", "200"]) == 2
    assert guarded(["power", "--lots", "200", "--epsilon", "1", "--trials", "100"]) == 2


def test_which_needs_fewer_is_said_both_ways() -> None:
    assert "By lot fewer are needed" in comparison(forecast_lots(candidates=200, epsilon=1.0, aucs=(0.8,)))
    assert "fewer than by lot" in comparison(forecast_lots(candidates=20, epsilon=1.0, aucs=(0.52,)))
    assert "cannot refute" in comparison(forecast_lots(candidates=20, epsilon=1.0, delta=0.03, aucs=(0.6,)))


def test_every_forecast_says_which_needs_fewer_models() -> None:
    from audit.lots.power import fewest_candidates, fewest_in_two_worlds
    from audit.power.forecasting import forecast_numbers
    from reports import forecast_summary

    made = forecast_numbers(epsilon=1.0, delta=1e-5, trials=2000, significance=0.05, tests=1, margins=(2.0,))
    words = " ".join(forecast_summary(made).split())
    assert "Fewest trained models that could refute ε ≤ 1: in two worlds 14, besides those that fit; by lot 1" in words
    n = fewest_candidates(1.0, 1e-5, 0.05)
    assert 2.0**-n * math.e + 1e-5 <= 0.05 < 2.0 ** -(n - 1) * math.e + 1e-5
    assert fewest_candidates(1.0, 0.05, 0.05) == fewest_in_two_worlds(1.0, 0.05, 0.05) == 0
    assert fewest_in_two_worlds(math.inf, 1e-5, 0.05) == 0


def rehearsal(m: int, auc: float, runs: int, draw: str = "fair", seed: int = 1) -> audit.LotsResult:
    rng, apart = np.random.default_rng(seed), math.sqrt(2) * float(ndtri(auc))
    coins = rng.random((runs, m)) < 0.5
    pairs = None
    if draw == "paired":
        pairs, coins = np.arange(m).reshape(-1, 2), np.repeat(coins[:, ::2], 2, axis=1) ^ (np.arange(m) % 2 == 1)
    claim = Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=1e-5), covers=UpTo(k=m))
    scores = rng.standard_normal((runs, m)) + apart * coins
    return audit.from_lots(scores, coins, claim=claim, draw=draw, pairs=pairs)  # type: ignore[arg-type]


@pytest.mark.parametrize(("auc", "draw"), [(0.6, "fair"), (0.8, "fair"), (0.95, "fair"), (0.7, "paired")])
def test_a_rehearsal_says_how_well_candidates_are_told_apart(auc: float, draw: str) -> None:
    found = rehearsed(rehearsal(400, auc, 100, draw))
    assert found.likely == pytest.approx(auc, abs=0.01)
    assert auc - 0.03 < found.cautious < found.likely


def test_a_rehearsal_that_shows_nothing_or_all() -> None:
    chance = rehearsed(rehearsal(100, 0.5, 4, seed=2))
    assert 0.5 <= chance.cautious < 0.53
    sure = rehearsal(100, 0.5, 1)
    all_right = replace(sure, runs=(replace(sure.runs[0], right=sure.runs[0].guesses),))
    assert rehearsed(all_right).likely > 0.95
    one = audit.which_record(np.eye(3), np.arange(3), claim=Claim(guarantee=sure.claim.guarantee, covers=UpTo(k=1)))
    with pytest.raises(InvalidInputError, match="--rehearsal"):
        rehearsed(one)


def test_the_command_reads_a_rehearsal(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(rehearsal(200, 0.7, 3).to_json(), encoding="utf-8")
    given = ["power", "--lots", "40", "--epsilon", "1", "--rehearsal", str(path)]
    done = CliRunner().invoke(main, given)
    assert done.exit_code == 0, done.output
    words = " ".join(done.output.split())
    assert "Rehearsed: " in words
    assert "with caution 0.6" in words
    found = json.loads(CliRunner().invoke(main, [*given, "--json"]).stdout)
    assert [power["auc"] for power in found["powers"]] == sorted(power["auc"] for power in found["powers"])
    assert guarded([*given, "--auc", "0.7"]) == 2
    path.write_text("{}", encoding="utf-8")
    assert guarded(given) == 2
    assert guarded([*given[:-1], str(tmp_path / "none.json")]) == 2
