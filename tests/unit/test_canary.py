"""Which records are chosen: rankings against deletions that are carried out, and words of a plan."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from attacks.canary import choose_records, difficulty, random_records, remaining_shift, with_boundary_outlier
from audit.certificates.canaries import choose_canaries
from audit.commands.plan_file.example import example_plan
from audit.commands.plan_file.reading import read_plan
from mechanisms.dataset import Dataset, from_arrays
from mechanisms.errors import InvalidInputError
from mechanisms.perturbation.output_perturbation import OutputPerturbation
from mechanisms.protocol import World
from mechanisms.ridge.langevin import CalibratedNoise, RidgeLangevin
from mechanisms.ridge.privacy_map import calibrate_map, privacy_map

Array = NDArray[np.float64]
RIDGE = RidgeLangevin(n_learn=5000, n_unlearn=15, sigma_learn=0.0, sigma_unlearn=0.3, sampler="closed_form")


EXAMPLE_PLAN = example_plan()


@pytest.fixture(scope="module")
def data() -> Dataset:
    rng = np.random.default_rng(4)
    features = rng.normal(size=(40, 4)) * [3.0, 1.0, 0.5, 0.2]
    return from_arrays(features, features @ rng.normal(size=4) + rng.normal(size=40), kind="regression")


class TestRemainingShift:
    def test_it_is_the_shift_of_the_exact_laws(self, data: Dataset) -> None:
        """Up to the noise's covariance, which is that of all records in the ranking and the record's own in the law."""
        full = data.features.T @ data.features + np.eye(4)
        step = 1 / np.linalg.eigvalsh(full)[-1]
        found = remaining_shift(data, penalty=1.0, n_unlearn=15, step_size=step, sigma_unlearn=0.3)
        for record in (0, 7, 23):
            deletion = RIDGE.bind(data, (record,))
            p, q = deletion.law(World.UNLEARNED), deletion.law(World.RETRAINED)
            gap = (p.mean - q.mean)[:, 0]
            assert found[record] == pytest.approx(np.sqrt(gap @ np.linalg.solve(q.covariance, gap)), rel=0.1)

    def test_no_step_leaves_the_whole_shift(self, data: Dataset) -> None:
        found = remaining_shift(data, penalty=1.0, n_unlearn=0)
        optimum = np.linalg.solve(data.features.T @ data.features + np.eye(4), data.features.T @ data.targets)
        without = data.without((5,))
        other = np.linalg.solve(without.features.T @ without.features + np.eye(4), without.features.T @ without.targets)
        assert found[5] == pytest.approx(np.linalg.norm(optimum - other), rel=1e-9)

    def test_slow_directions_decide_once_the_fast_ones_are_forgotten(self) -> None:
        """A record of the strong feature has the larger residual and leverage, and is forgotten sooner."""
        features = np.vstack([np.eye(2).repeat(20, axis=0) * [5.0, 0.5], [[5.0, 0.0], [0.0, 0.5]]])
        targets = np.zeros(42)
        targets[-2:] = 20.0, 2.0
        data = from_arrays(features, targets, kind="regression")
        assert int(np.argmax(difficulty(data, penalty=0.1))) == 40
        assert int(np.argmax(remaining_shift(data, penalty=0.1, n_unlearn=50))) == 41

    def test_learning_noise_hides_too(self, data: Dataset) -> None:
        quiet = remaining_shift(data, penalty=1.0, n_unlearn=3)
        assert np.all(remaining_shift(data, penalty=1.0, n_unlearn=3, sigma_learn=1.0, n_learn=9) < quiet)


class TestRules:
    def test_a_given_ranking(self, data: Dataset) -> None:
        ranking = np.arange(40)[::-1].astype(float)
        ranking[3] = np.inf
        assert choose_records(data, ["hardest", "median", "easiest"], penalty=1.0, ranking=ranking) == (3, 19, 39)

    @pytest.mark.parametrize("ranking", [np.ones(39), np.full(40, np.nan)])
    def test_a_ranking_that_is_not_one_number_a_record(self, data: Dataset, ranking: Array) -> None:
        with pytest.raises(InvalidInputError, match="40 numbers"):
            choose_records(data, ["hardest"], penalty=1.0, ranking=ranking)

    def test_an_unknown_rule(self, data: Dataset) -> None:
        with pytest.raises(InvalidInputError, match="rules among"):
            choose_records(data, ["worst"], penalty=1.0)  # type: ignore[list-item]

    def test_at_random(self, data: Dataset) -> None:
        chosen = random_records(data, 5, rng=np.random.default_rng(0))
        assert len(set(chosen)) == 5
        assert chosen == random_records(data, 5, rng=np.random.default_rng(0))
        with pytest.raises(InvalidInputError, match=r"in \[1, 39\]"):
            random_records(data, 40, rng=np.random.default_rng(0))


class TestOutlier:
    @pytest.mark.parametrize("kind", ["regression", "classification"])
    def test_it_is_hardest_and_within_the_range(self, data: Dataset, kind: str) -> None:
        if kind == "classification":
            data = from_arrays(data.features, (data.targets[:, 0] > 0).astype(float))
        grown = with_boundary_outlier(data, penalty=1.0)
        assert grown.n_records == 41
        assert "inserted" in grown.name
        for old, new in ((data.features, grown.features), (data.targets, grown.targets)):
            np.testing.assert_array_equal(new[:-1], old)
            assert np.all(new[-1] >= old.min(axis=0))
            assert np.all(new[-1] <= old.max(axis=0))
        assert grown.kind == kind
        if kind == "classification":
            assert grown.targets[-1].sum() == 1
        assert int(np.argmax(difficulty(grown, penalty=1.0))) == 40

    def test_a_column_of_ones_stays_one(self, data: Dataset) -> None:
        grown = with_boundary_outlier(
            from_arrays(data.features, data.targets, kind="regression", intercept=True), penalty=1.0
        )
        assert grown.features[-1, -1] == 1.0


class TestWords:
    def test_every_word(self, data: Dataset) -> None:
        found = choose_canaries(
            data,
            ["random", "hardest", "inserted", "random"],
            by="leverage_residual",
            mechanism=RIDGE,
            penalty=1.0,
            seed=3,
        )
        assert found.data.n_records == 41
        assert found.records[1] == choose_records(data, ["hardest"], penalty=1.0)[0]
        assert found.records[2] == 40
        assert found.records[0] != found.records[3]

    @pytest.mark.slow
    def test_by_certificate(self, data: Dataset) -> None:
        found = choose_canaries(data, ["hardest"], by="certificate", mechanism=RIDGE, penalty=1.0, seed=0)
        assert found.records[0] == np.argmax(privacy_map(data, RIDGE, delta=RIDGE.delta).two_sided)
        calibrated = RidgeLangevin(n_unlearn=15, sigma_unlearn=CalibratedNoise(route="exact", epsilon=1.0))
        found = choose_canaries(data, ["hardest"], by="certificate", mechanism=calibrated, penalty=1.0, seed=0)
        needed = calibrate_map(data, calibrated, epsilon=1.0, delta=1e-5).sigma_unlearn
        assert found.records[0] == np.argmax(needed)

    def test_by_remaining_shift(self, data: Dataset) -> None:
        found = choose_canaries(data, ["hardest"], by="remaining_shift", mechanism=RIDGE, penalty=1.0, seed=0)
        shift = remaining_shift(data, penalty=1.0, n_unlearn=15, sigma_unlearn=0.3)
        assert found.records == (int(np.argmax(shift)),)

    def test_other_mechanisms_have_no_such_rankings(self, data: Dataset) -> None:
        from sklearn.linear_model import Ridge

        other = OutputPerturbation(estimator=Ridge(), sigma=1.0)
        with pytest.raises(InvalidInputError, match="leverage_residual"):
            choose_canaries(data, ["hardest"], by="certificate", mechanism=other, penalty=1.0, seed=0)

    def test_in_a_plan(self, tmp_path: Path) -> None:
        words = 'choose = ["hardest", "median", "easiest"]'
        assert words in EXAMPLE_PLAN
        path = tmp_path / "plan.toml"
        path.write_text(
            EXAMPLE_PLAN.replace(words, 'choose = ["inserted", "easiest"]\nby = "remaining_shift"').replace(
                "rows = 1500", "rows = 100"
            )
        )
        resolved = read_plan(path)
        assert resolved.plan.labels == ("inserted", "easiest")
        assert resolved.plan.forget[0] == (100,)
        assert resolved.data.n_records == 101
