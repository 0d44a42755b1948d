"""What weakened an audit without a word: blind attacks, rows under a wrong record, attacks that cannot be fitted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import audit
from attacks.linear.influence import Influence
from attacks.linear.krylov import KrylovLda
from attacks.linear.residual import TargetLoss
from attacks.portfolio import Family, portfolio
from attacks.protocol import AttackContext, FittedAttack, Needs, failure, trouble
from attacks.quadratic.clouds import Radius
from attacks.registry import ATTACKS
from audit.commands.plan_file.example import example_plan
from audit.commands.plan_file.reading import read_plan
from audit.plan.audit_plan import AuditPlan
from audit.records.verdict import Verdict
from audit.regression.frozen import Auditable, count_frozen_events
from audit.running.binding import bind, make_context
from audit.running.forecast_plan import forecast
from mechanisms.adapters.functions import from_functions
from mechanisms.claim import Claim, EpsilonDelta
from mechanisms.dataset import Dataset, from_arrays
from mechanisms.errors import InvalidInputError
from mechanisms.protocol import Access, Outputs, ReleaseSpec

Array = NDArray[np.float64]
CLAIM = Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=1e-3))
PORTFOLIO = ("portfolio:mean", "portfolio:scale", "portfolio:tail")


@pytest.fixture(scope="module")
def numbers() -> Dataset:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3))
    return from_arrays(x, x @ [1.0, 2.0, 3.0] + rng.normal(size=40), kind="regression")


def nothing(data: Dataset, rng: np.random.Generator) -> Array:
    return np.zeros(3)


def to_both_sides(model: Array, retained: Dataset, forget: Dataset, rng: np.random.Generator) -> Array:
    """Move an unlearned model by 4, to one side or the other: its mean stays."""
    side = 2 * rng.integers(2) - 1
    return model + rng.standard_normal(3) + [4.0 * side * (len(forget) > 0), 0.0, 0.0]


def noisy(model: Array, retained: Dataset, forget: Dataset, rng: np.random.Generator) -> Array:
    return np.asarray(model + rng.standard_normal(model.shape))


def never(*arguments: Any) -> Any:
    raise AssertionError("a model was trained")


class TestDefaults:
    def test_a_symmetric_mixture_is_seen(self, numbers: Dataset) -> None:
        """``lda`` alone, once the default, shows 0 here."""
        mechanism = from_functions(learn=nothing, unlearn=to_both_sides, release=(3,))
        result = audit.run(mechanism, numbers, forget=3, claim=CLAIM, trials=1000, seed=1)
        assert result.plan.attacks == PORTFOLIO
        assert max(test.bound.value for test in result.findings[0].tests) > 4
        blind = audit.run(mechanism, numbers, forget=3, claim=CLAIM, trials=1000, seed=1, attacks=["lda"])
        assert max(test.bound.value for test in blind.findings[0].tests) == 0

    def test_in_given_releases_too(self) -> None:
        rng = np.random.default_rng(1)
        unlearned, retrained = rng.normal(size=(600, 2)), rng.normal(size=(600, 2))
        unlearned[:, 0] += 4 * (2 * rng.integers(2, size=600) - 1)
        result = audit.from_scores(unlearned, retrained, claim=CLAIM)
        assert result.plan.attacks == PORTFOLIO
        assert result.findings[0].sandwiches[0].bound.value > 3

    def test_plans_without_attacks(self, tmp_path: Any) -> None:
        assert AuditPlan(claims=(CLAIM,), forget=((3,),)).attacks == portfolio()
        text = example_plan()
        path = tmp_path / "plan.toml"
        path.write_text(text[: text.index("[[attacks]]")].replace("rows = 1500", "rows = 90"), encoding="utf-8")
        assert read_plan(path).plan.attacks == portfolio()

    def test_few_trials_fit_what_they_can(self, numbers: Dataset) -> None:
        mechanism = from_functions(learn=nothing, unlearn=noisy, release=(3,))
        assert audit.run(mechanism, numbers, forget=3, claim=CLAIM, trials=60).plan.attacks == PORTFOLIO[:2]
        assert audit.run(mechanism, numbers, forget=3, claim=CLAIM, trials=20).plan.attacks == ("lda",)
        rows = np.random.default_rng(2).normal(size=(2, 20, 3))
        assert audit.from_scores(*rows, claim=CLAIM).plan.attacks == ("lda",)

    @pytest.mark.parametrize("moved", [0.0, 1.0])
    def test_models_without_noise_are_decided_all_the_same(self, numbers: Dataset, moved: float) -> None:
        """Every model of a world is equal: nothing varies, which is no failure of an attack."""
        mechanism = from_functions(
            learn=nothing,
            unlearn=lambda model, retained, forget, rng: model + moved * len(forget),
            release=ReleaseSpec(shape=(3,), continuous=False),
        )
        result = audit.run(mechanism, numbers, forget=3, claim=CLAIM, trials=200)
        assert result.verdict is (Verdict.REFUTED if moved else Verdict.NOT_REFUTED)
        assert not result.findings[0].failures

    def test_noise_in_one_world_only_is_a_distance(self) -> None:
        retrained, unlearned = np.ones((50, 3)), 1 + np.random.default_rng(0).normal(size=(50, 3))
        fitted = Radius().fit(unlearned, retrained, None, rng=np.random.default_rng(0))  # type: ignore[arg-type]
        np.testing.assert_allclose(fitted.score(retrained), 0.0, atol=1e-9)
        assert fitted.score(unlearned).min() > 0


class TestNames:
    """The same audit by a name and by an object, wherever attacks are asked for."""

    def test_everywhere(self, numbers: Dataset) -> None:
        mechanism = from_functions(learn=nothing, unlearn=noisy, release=(3,))
        named, made = (
            AuditPlan(claims=(CLAIM,), forget=((3,),), attacks=a, trials=200) for a in (("lda",), ATTACKS_LDA)
        )
        assert named == made
        result = audit.run(mechanism, numbers, named)
        assert result.findings == audit.run(mechanism, numbers, made).findings
        assert forecast(mechanism, numbers, named, margins=()).plan == result.plan
        side = Auditable(mechanism=mechanism, data=numbers, plan=named)
        assert count_frozen_events(result, baseline=side, candidate=side)
        assert replace(named, attacks="portfolio").attacks == portfolio()

    def test_of_given_releases(self) -> None:
        rows = np.random.default_rng(2).normal(size=(2, 100, 3))
        by_name, by_object = (audit.from_scores(*rows, claim=CLAIM, attacks=a) for a in (["lda"], ATTACKS_LDA))
        assert by_name.findings == by_object.findings

    @pytest.mark.parametrize("attacks", [("ldaa",), (3,), (KrylovLda,)])
    def test_what_is_no_attack(self, attacks: Any) -> None:
        with pytest.raises(InvalidInputError, match="attacks"):
            AuditPlan(claims=(CLAIM,), forget=((3,),), attacks=attacks)


ATTACKS_LDA = (ATTACKS["lda"],)


@dataclass(frozen=True, kw_only=True)
class Choosy:
    """An attack of a user's own that can say what it lacks."""

    name: str = "choosy"
    needs: Needs = Needs()

    def fit(self, unlearned: Array, retrained: Array, context: AttackContext, *, rng: Any) -> FittedAttack:
        raise NotImplementedError

    def trouble(self, context: AttackContext, *, n_fit: int) -> str | None:
        return f"choosy dislikes {n_fit} trials"


class TestBeforeAnythingIsTrained:
    def refused(self, data: Dataset, attacks: Any, words: str, trials: int = 1000, **options: Any) -> None:
        mechanism = from_functions(learn=never, unlearn=never, release=(3,), **options)
        plan = AuditPlan(claims=(CLAIM,), forget=((3,),), attacks=attacks, trials=trials)
        with pytest.raises(InvalidInputError, match=words):
            audit.run(mechanism, data, plan)

    def test_too_few_trials(self, numbers: Dataset) -> None:
        least = "needs at least {} fitting trials a world, and one fit would have {}"
        self.refused(numbers, ("tail",), "tail " + least.format(10, 6), trials=60)
        self.refused(numbers, ("portfolio",), "portfolio:tail " + least.format(10, 6), trials=60)
        self.refused(numbers, ("mlp",), "mlp " + least.format(30, 20), trials=200)
        self.refused(
            numbers, ("krylov_lda",), "krylov_lda " + least.format(4, 2), trials=20, parameters={"penalty": 1.0}
        )

    def test_what_is_not_granted(self, numbers: Dataset) -> None:
        self.refused(numbers, ("likelihood_ratio",), "likelihood_ratio needs the law")
        self.refused(numbers, ("influence", "krylov_lda"), "influence needs the public.*; krylov_lda needs the public")
        self.refused(numbers, (Family(name="mine", members=(Influence(),)),), "mine has no member that applies")
        self.refused(numbers, (Choosy(),), "choosy dislikes 100 trials")

    @pytest.mark.parametrize("attack", [TargetLoss(), Influence(), KrylovLda()])
    def test_a_constant_score(self, numbers: Dataset, attack: Any) -> None:
        """A record without features moves no model; one without a target either is predicted exactly."""
        x, y = numbers.features.copy(), numbers.targets.copy()
        x[3], y[3] = 0.0, 0.0
        data = from_arrays(x, y, kind="regression")
        self.refused(data, (attack,), f"{attack.name} scores all releases alike", parameters={"penalty": 1.0})

    def test_a_forecast_says_it_and_goes_on(self, numbers: Dataset) -> None:
        mechanism = from_functions(learn=never, unlearn=never, release=(3,))
        plan = AuditPlan(claims=(CLAIM,), forget=((3,),), attacks=("tail",), trials=60)
        (found,) = forecast(mechanism, numbers, plan, margins=()).claims
        assert any("tail needs at least 10" in caution.message for caution in found.cautions)

    def test_a_family_that_learns_blindly_is_warned_of_like_lda(self, numbers: Dataset) -> None:
        mechanism = from_functions(learn=never, unlearn=never, release=(30_000,))
        plans = [AuditPlan(claims=(CLAIM,), forget=((3,),), attacks=(name,)) for name in ("lda", "portfolio:mean")]
        alone, family = (forecast(mechanism, numbers, plan).claims[0].learned[0] for plan in plans)
        assert family == replace(alone, attack="portfolio:mean")

    def test_a_family_that_sees_blocks_beside_is_warned_of_with_that_exception(self, numbers: Dataset) -> None:
        mechanism = from_functions(learn=never, unlearn=never, release=(200_000,))
        plans = [AuditPlan(claims=(CLAIM,), forget=((3,),), attacks=(name,)) for name in ("lda", "portfolio:mean")]
        alone, family = (forecast(mechanism, numbers, plan).claims[0] for plan in plans)
        assert family.learned == (replace(alone.learned[0], attack="portfolio:mean"),)
        said = [next(c.message for c in found.cautions if c.kind == "blind_attack") for found in (alone, family)]
        assert ["unless neighbouring numbers move together" in message for message in said] == [False, True]

    def test_whitening_learns_no_less_blindly(self, numbers: Dataset) -> None:
        mechanism = from_functions(learn=never, unlearn=never, release=(30,))
        plans = [AuditPlan(claims=(CLAIM,), forget=((3,),), attacks=(name,)) for name in ("lda", "whitened_lda")]
        alone, whitened = (forecast(mechanism, numbers, plan).claims[0].learned for plan in plans)
        assert whitened == (replace(alone[0], attack="whitened_lda"),)

    def test_trouble_of_a_registered_attack_is_what_its_fit_says(self, numbers: Dataset) -> None:
        """With three trials of pure noise: whatever fitting refuses is foreseen, and nothing else."""
        deletion = from_functions(learn=never, unlearn=never, release=(3,), parameters={"penalty": 1.0}).bind(
            numbers, (3,)
        )
        context = make_context(deletion, numbers, (3,))
        for n in (1, 3, 12, 60):
            first, second = np.random.default_rng(n).normal(size=(2, n, 3))
            for name, attack in ATTACKS.items():
                said = trouble(attack, context, n_fit=n)
                refused = failure(partial(attack.fit, first, second, context, rng=np.random.default_rng(0)))
                assert (said is None) == (refused is None), (name, n, said, refused)


class Asked:
    """Five classes; records 9 and 3 decide the model, which shows its logits on them and on 40 other records."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        x, labels = rng.normal(size=(60, 4)), rng.integers(0, 5, 60)
        x[9], labels[9], x[3], labels[3] = [2, 0, 0, 0], 0, [0, 2, 0, 0], 4
        self.data = from_arrays(x, labels.astype(float), kind="classification")
        self.probe = rng.normal(size=(40, 4))

    def learn(self, data: Dataset, rng: np.random.Generator) -> Array:
        return np.linalg.solve(data.features.T @ data.features + np.eye(4), data.features.T @ (data.targets - 0.2))

    def unlearn(self, model: Array, retained: Dataset, forget: Dataset, rng: np.random.Generator) -> Array:
        return np.asarray(model + 0.03 * rng.standard_normal(model.shape))

    def observe(self, model: Array, deleted: Dataset) -> Array:
        return np.asarray(np.concatenate([deleted.features, self.probe]) @ model)

    def bound(self, forget: tuple[int, ...], outputs: Outputs, unlearn: Callable[..., Any] | None = None) -> float:
        release = ReleaseSpec(shape=(40 + len(forget), 5), access=Access.BLACK_BOX, outputs=outputs)
        mechanism = from_functions(
            learn=self.learn, unlearn=unlearn or self.unlearn, observe=self.observe, release=release
        )
        plan = AuditPlan(claims=(CLAIM,), forget=(forget,), attacks=("u_lira",), trials=1000, seed=1)
        return audit.run(mechanism, self.data, plan).findings[0].sandwiches[0].bound.value


class TestRowsOfOutputs:
    def test_the_order_of_a_forget_set_decides_nothing(self) -> None:
        """Rows under the wrong record's name showed 0.17 instead of 2.94."""
        asked = Asked()
        others = (-1,) * 40
        values = [
            asked.bound((9, 3), Outputs(kind="logits")),
            asked.bound((9, 3), Outputs(records=(9, 3, *others), kind="logits")),
            asked.bound((3, 9), Outputs(kind="logits")),
        ]
        assert min(values) > 2.5

    def test_rows_that_are_named_in_another_order_are_refused(self) -> None:
        with pytest.raises(InvalidInputError, match=r"in the order of the forget set, \(9, 3\), got \(3, 9\)"):
            Asked().bound((9, 3), Outputs(records=(3, 9, *(-1,) * 40), kind="logits"))

    @pytest.mark.parametrize("records", [(8, 9, *(-1,) * 40), (8,) * 42])
    def test_another_record_in_place_of_a_deleted_one(self, records: tuple[int, ...]) -> None:
        with pytest.raises(InvalidInputError, match=r"the deleted records \(9, 3\) among them.*without"):
            Asked().bound((9, 3), Outputs(records=records, kind="logits"))

    def test_rows_without_a_record(self) -> None:
        with pytest.raises(InvalidInputError, match="3 rows, one for each of the records"):
            Asked().bound((9, 3), Outputs(records=(9, 3, -1), kind="logits"))

    def test_every_forget_set_of_a_plan_is_filled_in(self) -> None:
        asked = Asked()
        release = ReleaseSpec(shape=(41, 5), access=Access.BLACK_BOX, outputs=Outputs(kind="logits"))
        mechanism = from_functions(learn=never, unlearn=never, observe=asked.observe, release=release)
        plan = AuditPlan(claims=(CLAIM,), forget=((9,), (3,)), attacks=("u_lira",))
        for i in range(2):
            probe = bind(mechanism, asked.data, plan, i).context.probe
            assert probe is not None
            assert probe.rows == (0,)
        declared = replace(release, outputs=Outputs(records=(9, *(-1,) * 40), kind="logits"))
        other = from_functions(learn=never, unlearn=never, observe=asked.observe, release=declared)
        with pytest.raises(InvalidInputError, match=r"\(3,\) among them"):
            audit.run(other, asked.data, plan)

    def test_a_forget_set_reaches_unlearn_in_its_order(self) -> None:
        asked, seen = Asked(), []

        def unlearn(model: Array, retained: Dataset, forget: Dataset, rng: np.random.Generator) -> Array:
            seen.append(forget.features.tolist())
            return asked.unlearn(model, retained, forget, rng)

        asked.bound((9, 3), Outputs(kind="logits"), unlearn)
        assert asked.data.features[[9, 3]].tolist() in seen
        assert asked.data.features[[3, 9]].tolist() not in seen
