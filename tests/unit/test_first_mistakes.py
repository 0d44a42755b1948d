"""What a newcomer gets wrong first, and what the tool answers: the field, the value, and what to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import audit
from attacks.linear.discriminant import LinearDiscriminant
from audit.cli import guarded
from audit.commands.plan_file.example import example_plan
from audit.commands.plan_file.reading import read_plan
from audit.errors import PlanError, TrialError
from audit.plan.audit_plan import AuditPlan
from audit.records.verdict import Reason
from audit.running.forecast_plan import forecast
from audit.trials.chunks import ChunkTask, Source, Stream, draw
from mechanisms.adapters.functions import from_functions
from mechanisms.claim import Claim, EpsilonDelta, GaussianDP
from mechanisms.dataset import Dataset, from_arrays
from mechanisms.errors import InvalidInputError
from mechanisms.protocol import World
from reports.audits.terminal import summary
from reports.audits.view import page
from reports.forecasts.summary import forecast_summary

CLAIM = Claim(guarantee=EpsilonDelta(epsilon=0.5, delta=0.01))
Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def data() -> Dataset:
    rng = np.random.default_rng(0)
    return from_arrays(rng.standard_normal((30, 3)), rng.standard_normal(30), kind="regression")


def learn(data: Dataset, rng: np.random.Generator) -> Array:
    return data.features.T @ data.targets[:, 0]


def noisy(model: Array, retained: Dataset, forget: Dataset, rng: np.random.Generator) -> Array:
    return model + rng.standard_normal(model.shape)


def run(data: Dataset, **changes: Any) -> audit.AuditResult:
    own = {"learn": learn, "unlearn": noisy, "release": (3,)} | {
        k: changes.pop(k) for k in ("learn", "unlearn", "release", "calibrate") if k in changes
    }
    asked = {"forget": 3, "claim": CLAIM, "trials": 40, "seed": 1} | changes
    return audit.run(from_functions(**own), data, **asked)


@pytest.mark.parametrize("forget", ["123", True, 1.5, [1, 2.0], ["1"]])
def test_a_forget_set_is_whole_numbers(data: Dataset, forget: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"forget to be whole numbers.*write 17"):
        run(data, forget=forget)


def test_a_forget_set_may_be_an_array(data: Dataset) -> None:
    assert run(data, forget=np.array([4, 2])).findings[0].forget == (4, 2)


@pytest.mark.parametrize("claim", [0.5, GaussianDP(mu=0.5), EpsilonDelta(epsilon=1.0, delta=0.0)])
def test_a_claim_is_a_claim(data: Dataset, claim: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"claim to be a Claim.*Claim\(guarantee="):
        run(data, claim=claim)
    if isinstance(claim, float):
        with pytest.raises(InvalidInputError, match="guarantee"):
            Claim(guarantee=claim)  # type: ignore[arg-type]


def test_attacks_may_be_named(data: Dataset) -> None:
    assert run(data, attacks=["lda"]).plan.attacks == ("lda",)
    with pytest.raises(InvalidInputError, match=r"attacks.*portfolio.*got ldaa"):
        run(data, attacks=["ldaa"])


def test_a_release_may_be_a_number_of_coefficients(data: Dataset) -> None:
    assert run(data, release=3).plan.trials == 40
    with pytest.raises(InvalidInputError, match=r"release.*shape"):
        run(data, release=3.5)


def broken(*arguments: Any) -> Any:
    raise KeyError("x")


def too_few(model: Array, retained: Dataset) -> Array:
    return model


def only_something(model: Array, retained: Dataset, forget: Dataset, rng: np.random.Generator) -> Array:
    return model + forget.features[0] + rng.standard_normal(3)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"learn": broken}, r"learn raised KeyError: 'x' \(world \w+, forget set 0"),
        ({"unlearn": broken}, r"unlearn raised KeyError: 'x' \(world"),
        ({"unlearn": too_few}, r"unlearn raised TypeError: too_few\(\) takes 2 positional arguments"),
    ],
)
def test_a_users_own_error_is_said_to_be_that(data: Dataset, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(TrialError, match=said) as caught:
        run(data, **changes)
    # The command line prints the traceback of the cause, which ends in the user's own line.
    assert isinstance(caught.value.__cause__, KeyError | TypeError)


def test_only_an_empty_forget_set_is_blamed_for_what_it_does(data: Dataset) -> None:
    with pytest.raises(Exception, match=r"failed on an empty forget set \(IndexError.*and not on the deleted records"):
        run(data, unlearn=only_something)


def rarely(rate: float, *, empty_only: bool) -> Callable[..., Array]:
    """An unlearn that fails now and then, for a reason of its own: the linear algebra of an unlucky draw."""

    def unlearn(model: Array, retained: Dataset, forget: Dataset, rng: np.random.Generator) -> Array:
        if rng.random() < rate and (len(forget) == 0 or not empty_only):
            raise np.linalg.LinAlgError("Singular matrix")
        return model + rng.standard_normal(model.shape)

    return unlearn


@pytest.mark.parametrize("empty_only", [True, False])
def test_a_rare_failure_is_not_blamed_on_the_empty_forget_set(data: Dataset, empty_only: bool) -> None:
    """Before: "unlearn failed on an empty forget set", with advice that changes the claim, and no chunk or seed."""
    finding = run(data, unlearn=rarely(0.003, empty_only=empty_only), seed=11, trials=400).findings[0]
    assert finding.reason is Reason.TRIALS_FAILED
    said = finding.failed_chunks[0].message
    assert "unlearn raised LinAlgError: Singular matrix (world " in said
    assert "RETRAIN_ONLY" not in said
    assert "forget set 0, chunk " in said
    assert "seed 11" in said


def test_a_failure_names_the_stream_that_replays_it(data: Dataset) -> None:
    """The null control samples the retrained world too, from a stream of its own."""
    task = ChunkTask(
        seed=11, source=Source(stream=Stream.NULL_CONTROL, world=World.RETRAINED, record=0), chunk=3, n=500
    )
    mechanism = from_functions(learn=learn, unlearn=rarely(0.02, empty_only=True), release=(3,))
    with pytest.raises(TrialError, match=r"world retrained, forget set 0, chunk 3, seed 11, stream null_control"):
        draw(mechanism.bind(data, (4,)), task)


@pytest.mark.parametrize("returned", [lambda *_: {"w": 1.0}, lambda *_: object(), lambda *_: "weights"])
def test_a_release_is_numbers(data: Dataset, returned: Callable[..., Any]) -> None:
    with pytest.raises(TrialError, match=r"release to be an array of real numbers, got a \w+; .*observe"):
        run(data, unlearn=returned)


def test_a_service_without_noise_is_told_why_nothing_was_decided(data: Dataset) -> None:
    shown = summary(run(data, unlearn=lambda model, *_: model))
    assert "INCONCLUSIVE" in shown
    words = " ".join(shown.split())
    assert "Record 3: Could not be decided: a control of the sampling failed" in words
    assert "Releases equal to an earlier one" in words
    assert "drawn without any noise" in words


def test_a_verdict_that_says_little_says_so(data: Dataset) -> None:
    plan = AuditPlan(claims=(CLAIM,), forget=((3,), (5,)), attacks=(LinearDiscriminant(),), trials=200)
    mechanism = from_functions(learn=learn, unlearn=lambda m, r, f, rng: m + 1e6 * rng.standard_normal(3), release=(3,))
    hidden = audit.run(mechanism, data, plan=plan)
    words = " ".join(summary(hidden).split())
    assert "NOT REFUTED" in words
    assert (
        "Record 3, Record 5: A deletion that was ignored on purpose was not noticed either, with 40 models a world"
        in words
    )


def test_one_deletion_is_planned_once() -> None:
    with pytest.raises(InvalidInputError, match=r"forget to be distinct forget sets.*audit each deletion once"):
        AuditPlan(claims=(CLAIM,), forget=((3, 5), (5, 3)), attacks=(LinearDiscriminant(),))


def test_plans_say_how_to_name_deletions_and_mechanisms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "plan.toml"
    choice = 'choose = ["hardest", "median", "easiest"]'
    assert choice in example_plan()
    path.write_text(example_plan().replace(choice, "forget = [17, 123]"), encoding="utf-8")
    with pytest.raises(PlanError, match=r"\[\[17\], \[123\]\] deletes each alone, \[\[17, 123\]\] all at once"):
        read_plan(path)
    start, end = example_plan().index("[mechanism]"), example_plan().index("[records]")
    path.write_text(example_plan()[:start] + example_plan()[end:], encoding="utf-8")
    assert guarded(["power", str(path)]) == 2
    assert "--mechanism module:object" in capsys.readouterr().err


def test_data_are_shared_by_all_trials_and_cannot_be_changed(data: Dataset) -> None:
    def careless(dataset: Dataset, rng: np.random.Generator) -> Array:
        dataset.features[...] *= 0.5
        return learn(dataset, rng)

    with pytest.raises(TrialError, match=r"learn raised ValueError: .*read-only \(the data are shared by all trials"):
        run(data, learn=careless)
    own = np.ones((3, 2))
    assert Dataset(name="own", features=own, targets=own[:, :1], kind="regression").features is not own
    own[0, 0] = 2.0


def test_a_buffer_that_is_returned_again_gives_other_releases(data: Dataset) -> None:
    buffer = np.zeros(3)

    def reused(model: Array, retained: Dataset, forget: Dataset, rng: np.random.Generator) -> Array:
        buffer[...] = noisy(model, retained, forget, rng)
        return buffer

    assert run(data, unlearn=reused).findings == run(data).findings


def test_an_empty_forget_set_has_length_zero(data: Dataset) -> None:
    assert [len(data.take(())), len(data.take((3, 5))), len(data)] == [0, 2, 30]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.ma.masked_less(np.arange(6.0).reshape(3, 2), 1), "masked values"),
        (np.full((3, 2), 1j), "dtype complex128"),
        (np.array([["a", "b"]] * 3), "dtype <U1"),
    ],
)
def test_data_that_would_lose_their_meaning_are_refused(values: Any, said: str) -> None:
    for make in (from_arrays, lambda x, y: Dataset(name="x", features=x, targets=y, kind="regression")):
        with pytest.raises(InvalidInputError, match=said):
            make(values, np.arange(3.0)[:, None])


def test_whole_numbers_do_not_wrap_around() -> None:
    small = np.arange(60, dtype=np.int8).reshape(20, 3)
    given = Dataset(name="x", features=small, targets=small[:, :1], kind="regression")
    assert given.features.dtype == given.targets.dtype == np.float64


def test_arguments_of_another_kind_are_named(data: Dataset) -> None:
    with pytest.raises(InvalidInputError, match=r"mechanism to be an object with a name and bind"):
        audit.run(5, data, forget=3, claim=CLAIM)  # type: ignore[arg-type]
    for trials, said in ((100.5, "a whole number"), (10**12, "at most 1,000,000,000")):
        with pytest.raises(InvalidInputError, match=f"trials to be {said}"):
            run(data, trials=trials)


def test_one_held_out_record_gives_no_r_squared(data: Dataset) -> None:
    assert not data.take((1,)).can_score
    assert replace(data, held_out=data.take((1,))).scoring_set is None
    with pytest.raises(InvalidInputError, match="at least two distinct rows"):
        data.take((1,)).score(np.zeros((3, 1)))


def test_a_claim_without_delta_is_not_said_to_be_beyond_every_epsilon(data: Dataset) -> None:
    pure = Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=0.0))
    said = page(run(data, claim=pure)).audits[0].findings[0].strength
    assert "(alternative: randomised response; δ = 0)" in said
    assert "No true ε, however large" not in said
    plan = AuditPlan(claims=(pure,), forget=((3,),), attacks=(LinearDiscriminant(),), trials=400)
    mechanism = from_functions(learn=learn, unlearn=noisy, release=(3,))
    words = " ".join(forecast_summary(forecast(mechanism, data, plan)).split())
    assert "detectable, power and trials of such a claim are at δ = 1e-5." in words


@pytest.mark.parametrize(
    ("noise", "said"),
    [
        ('{ calibrate = "exact", epsilon = 1.0 }', "calibrate: expected 'probable', 'sure' or 'uniform', got 'exact'"),
        ('{ calibrate = "sure", epsilon = -1 }', "epsilon: expected greater than or equal to 1e-100, got -1"),
    ],
)
def test_a_calibration_with_one_mistake_is_told_one_in_words_of_the_plan(tmp_path: Path, noise: str, said: str) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(
        'schema = "unlearn-audit/plan/1"\ntrials = 400\n[data]\nname = "breast_cancer"\n[mechanism]\n'
        f'name = "logistic_langevin"\nsigma_unlearn = {noise}\n[records]\nforget = [[17]]\n'
        '[[claims]]\nkind = "profile"\nfrom = "sure"\n'
    )
    with pytest.raises(PlanError) as caught:
        read_plan(plan)
    first, *lines = str(caught.value).splitlines()
    assert "1 problem(s)" in first
    assert len(lines) == 1
    assert f"mechanism.logistic_langevin.sigma_unlearn.{said}" in lines[0]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (
            '[mechanism]\nimport = "mine:mechanism"\n',
            'mechanism: expected a name that says which kind it is, got none; add it, say name = "ridge_langevin", or',
        ),
        ('[mechanism]\nname = "exact_downdate"\n[[claims]]\nmu = 1.0\n', "claims.0: expected a kind that says which"),
    ],
)
def test_a_table_that_says_no_kind_is_told_what_lacks(tmp_path: Path, table: str, said: str) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(f'schema = "unlearn-audit/plan/1"\n[data]\nname = "diabetes"\n[records]\nforget = [[3]]\n{table}')
    with pytest.raises(PlanError) as caught:
        read_plan(path)
    assert said in str(caught.value)
    assert "discriminator" not in str(caught.value)
