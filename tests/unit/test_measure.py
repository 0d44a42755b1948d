"""Measures where nothing is claimed: beside an ignored deletion and retrained models, and never a verdict."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import ndtr

import audit
import reports
from audit.gathering.measuring import measures_of
from audit.gathering.selection import PreparedAttack
from mechanisms import InvalidInputError, Reference, from_functions
from mechanisms.dataset import Dataset, from_arrays
from tests.e2e.command_line import run
from tests.statistical.budget import binomial_limits

Array = NDArray[np.float64]
WORDS = ("refuted", "not refuted", "inconclusive", "passed", "safe to")


@pytest.fixture(autouse=True)
def _no_fresh_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A replay in a new process takes a second a forget set, and has tests of its own."""
    monkeypatch.setattr("audit.controls.replay._may_keep", lambda deletion: False)


def make_data() -> Dataset:
    rng = np.random.default_rng(0)
    targets = rng.normal(size=24)
    targets[5] = 40.0
    return from_arrays(rng.normal(size=(24, 2)), targets, kind="regression", name="table")


def moment(data: Dataset, rng: np.random.Generator) -> Array:
    return np.asarray(data.features.T @ data.targets[:, 0] / 24 + 0.3 * rng.standard_normal(2))


def service(**given: Any) -> Any:
    def serve(model: Array, retained: Dataset, forget: Dataset, rng: np.random.Generator) -> Array:
        return model - np.asarray(forget.features.T @ forget.targets[:, 0] / 24)

    chosen = {"learn": moment, "unlearn": serve, "release": (2,), "reference": Reference.RETRAIN_ONLY, **given}
    return from_functions(**chosen)


def lose(model: Array, retained: Dataset, forget: Dataset, rng: np.random.Generator) -> Array:
    return model


def test_a_lost_request_measures_like_an_ignored_one_and_a_served_one_like_retraining() -> None:
    options: dict[str, Any] = {"forget": [(5,)], "trials": 200, "attacks": ["lda"], "seed": 1}
    lost, served = (audit.measure(one, make_data(), **options) for one in (service(unlearn=lose), service()))
    (shown,), (quiet,) = lost.sets[0].attacks, served.sets[0].attacks
    assert shown.ignored is not None
    assert shown.retrained is not None
    assert shown.unlearned.bound.value > 2
    assert shown.ignored.bound.value > 2
    assert shown.retrained.bound.value < 0.2
    assert abs(shown.unlearned.auc - shown.ignored.auc) < 0.1
    assert quiet.unlearned.bound.value < 0.2
    assert quiet.unlearned.auc_low < 0.5 < quiet.unlearned.auc_high
    assert shown.unlearned.caught[0].tpr.low > 0.2
    assert [caught.nominal for caught in shown.unlearned.caught] == [0.01, 0.001]
    assert shown.unlearned.advantage_high > 0.9 > quiet.unlearned.advantage_high


def test_it_is_written_for_people_and_machines_and_says_no_verdict(tmp_path: Path) -> None:
    data = make_data()
    found = audit.measure(
        service(evaluate=lambda model: float(model[0])), data, forget=[(5,), (1, 2)], trials=60, attacks=["lda"]
    )
    assert audit.MeasureResult.from_json(found.to_json()) == found
    paths = reports.write_measures(found, tmp_path)
    assert [path.name for path in paths] == ["measures.html", "measures.json", "measures.md"]
    texts = [path.read_text(encoding="utf-8") for path in paths if path.suffix != ".json"]
    texts.append(reports.measures_summary(found))
    for text in texts:
        said = text.lower()
        assert "no verdict: nothing was claimed." in said
        assert "<html" in said or not [word for word in WORDS if word in said]
        for word in ("auc", "tpr at fpr 1 %", "tpr at fpr 0.1 %", "advantage at most", "ignored", "retrained"):
            assert word in said, word
    assert "records 1 and 2" in str(found)
    assert any(control.worth is not None for control in found.controls)
    assert "Utility" in reports.measures_summary(found)


def test_a_set_whose_trials_cannot_be_trusted_is_not_measured() -> None:
    state = np.random.default_rng()

    def unseeded(model: Array, retained: Dataset, forget: Dataset, rng: np.random.Generator) -> Array:
        return np.asarray(model + state.standard_normal(2))

    found = audit.measure(service(unlearn=unseeded), make_data(), forget=3, trials=60, attacks=["lda"])
    assert found.sets[0].attacks == ()
    assert "draws randomness from elsewhere" in found.sets[0].failures[""]
    assert "not measured" in reports.measures_summary(found)


@pytest.mark.parametrize("reference", list(Reference))
def test_the_trainings_that_it_states_are_made(reference: Reference) -> None:
    learned: Counter[int] = Counter()

    def counted(data: Dataset, rng: np.random.Generator) -> Array:
        learned[len(data)] += 1
        return moment(data, rng)

    mechanism = service(learn=counted, unlearn=lose, reference=reference)
    said = audit.measure(mechanism, make_data(), forget=3, trials=60, attacks=["lda"]).trainings
    assert said is not None
    # Checks before the first trial learn a few more.
    assert 0 <= learned[24] - said.all_records < 10
    assert 0 <= learned[23] - said.retained < 10


@pytest.mark.slow
def test_a_plan_lends_its_trials_and_its_claims_are_not_looked_at() -> None:
    from audit.plan.audit_plan import AuditPlan
    from mechanisms import Claim, EpsilonDelta

    # Against the other reference world, which an audit of this service refuses.
    claim = Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=0.1))
    plan = AuditPlan(claims=(claim,), forget=((5,), (7,)), attacks=("lda",), trials=60, seed=4, share_learned=True)
    found = audit.measure(service(), make_data(), plan)
    assert [each.name for each in found.sets] == ["record 5", "record 7"]
    assert (found.seed, found.delta, sum(found.n_counted)) == (4, 1e-5, 2 * plan.n_counted)
    assert found.trainings is not None
    assert found.trainings.all_records == 2 * 60
    with pytest.raises(InvalidInputError, match=r"plan.*both"):
        audit.measure(service(), make_data(), plan, forget=3)


@pytest.mark.parametrize(("forget", "said"), [((3, 5), "deletes each alone"), ("3", "forget"), (None, "forget")])
def test_what_is_to_be_deleted_is_never_guessed(forget: Any, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        audit.measure(service(), make_data(), forget=forget)


def make_models(shift: float, n: int = 80) -> tuple[Array, Array]:
    rng = np.random.default_rng(9)
    outputs = 0.3 * rng.normal(size=(2 * n, 1)) + rng.normal(size=(2 * n, 6))
    outputs[:n, 2:] += shift
    return outputs[:n], outputs[n:]


def test_models_that_exist_are_measured_as_a_set_and_record_by_record() -> None:
    unlearned, retrained = make_models(1.5)
    found = audit.measure_models(unlearned, retrained, kind="scores", before=unlearned + 3, details=3)
    whole, *single = found.sets
    assert whole.name == "the whole set"
    assert whole.attacks[0].unlearned.bound.value > 1
    assert whole.attacks[0].ignored is not None
    assert whole.attacks[0].ignored.auc > 0.95
    assert whole.attacks[0].retrained is not None
    assert whole.attacks[0].retrained.bound.value < 0.3
    assert len(single) == 3
    assert {each.name for each in single} <= {"2", "3", "4", "5"}
    assert all(each.attacks[0].unlearned.auc > 0.7 for each in single)
    # Half of the level is for all records at once, a share of the other half for each single one.
    assert single[0].attacks[0].unlearned.bound.level == pytest.approx(whole.attacks[0].unlearned.bound.level / 6)


@pytest.mark.slow
def test_the_orientation_of_a_record_is_learned_and_not_assumed() -> None:
    unlearned, retrained = make_models(1.5)
    higher, lower = (
        audit.measure_models(sign * unlearned, sign * retrained, kind="scores", details=2).sets[1].attacks[0]
        for sign in (1, -1)
    )
    assert higher.unlearned.auc == lower.unlearned.auc > 0.7


@pytest.mark.slow
def test_the_command_measures_a_plan_without_claims_and_models(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(
        'schema = "unlearn-audit/plan/1"\ntrials = 60\n[data]\nname = "diabetes"\nrows = 60\n'
        '[mechanism]\nname = "ridge_langevin"\nn_learn = 5\nn_unlearn = 5\nsigma_learn = 0.1\nsigma_unlearn = 0.1\n'
        '[records]\nforget = [[3]]\n[[attacks]]\nname = "lda"\n',
        encoding="utf-8",
    )
    done = run("measure", tmp_path / "plan.toml", "--jobs", "1", "--out", tmp_path / "out", "--seed", "2")
    assert done.returncode == 0, done.stderr
    assert "No verdict" in done.stdout
    stored = json.loads((tmp_path / "out" / "measures.json").read_text(encoding="utf-8"))
    assert (stored["schema"], stored["seed"]) == ("unlearn-audit/measure/1", 2)
    folder = tmp_path / "models"
    folder.mkdir()
    for name, side in zip(("unlearned", "retrained"), make_models(1.0), strict=True):
        np.save(folder / f"{name}.npy", side)
    done = run("measure", folder, "--kind", "scores", "--details", "1")
    assert done.returncode == 0, done.stderr
    assert "the whole set" in done.stdout
    done = run("measure", folder, "--trials", "60")
    assert done.returncode == 2
    assert "--trials" in done.stderr


@pytest.mark.slow
def test_bounds_areas_and_rates_hold_as_often_as_they_say() -> None:
    """N(1, 1) against N(0, 1) with few models: the truth of everything is known."""
    n, level, replicates, delta = 60, 0.2, 400, 0.05
    area = float(ndtr(1 / np.sqrt(2)))
    # epsilon of a Gaussian shift of 1 at delta = 0.05, solved by bisection: delta(1.0856) = 0.05.
    grid = np.linspace(0, 3, 300_001)
    truth = float(grid[np.argmin(np.abs(ndtr(0.5 - grid) - np.exp(grid) * ndtr(-0.5 - grid) - delta))])
    missed = {"bound": 0, "area": 0, "tpr": 0, "fpr": 0, "advantage": 0}
    for i in range(replicates):
        rng = np.random.default_rng([7, i])
        fit = PreparedAttack(name="x", fitted=None, unlearned=rng.normal(1, 1, n), retrained=rng.normal(0, 1, n))
        found = measures_of(fit, rng.normal(1, 1, n), rng.normal(0, 1, n), delta=delta, level=level)
        caught = found.caught[0]
        tpr, fpr = 1 - ndtr(caught.threshold - 1), 1 - ndtr(caught.threshold)
        missed["bound"] += found.bound.value > truth
        missed["area"] += not found.auc_low <= area <= found.auc_high
        missed["tpr"] += not caught.tpr.low <= tpr <= caught.tpr.high
        missed["fpr"] += not caught.fpr.low <= fpr <= caught.fpr.high
        missed["advantage"] += found.advantage_high < 2 * ndtr(0.5) - 1
    print(missed)
    assert missed.pop("bound") <= binomial_limits(replicates, level)[1]
    assert all(count <= binomial_limits(replicates, 0.05)[1] for count in missed.values())
    # Two-sided: rates of the threshold are what the intervals are about, and some miss it.
    assert missed["tpr"] > 0
