"""The table of published mechanisms: categories of rows, what differs from a committed table, its words."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from attacks.protocol import AttackContext
from attacks.tails.density_ratio import DensityRatio
from audit.errors import SchemaError
from audit.records.verdict import Reason, Verdict
from audit.selftest.wild.comparing import differences
from audit.selftest.wild.result import SharedNoise, WildAudit, WildResult, WildVariant
from audit.selftest.wild.running import LEVEL, WildSettings, category_of, seed_of, shared_noise, shown_by
from mechanisms.dataset import from_arrays
from mechanisms.errors import InvalidInputError, NotApplicableError
from mechanisms.protocol import ReleaseSpec
from mechanisms.published.catalogue import published
from mechanisms.published.frame import Assumption
from mechanisms.published.releases import GaussianRelease
from reports.page import schemas
from reports.wild.view import shared_randomness
from reports.wild.writing import wild_html, wild_markdown, wild_summary

COMMITTED = Path(__file__).parents[2] / "benchmarks" / "results" / "wild.json"


@pytest.fixture(scope="module")
def table() -> WildResult:
    return WildResult.from_json(COMMITTED.read_text(encoding="utf-8"))


def audited(*verdicts: Verdict, exact: float | None = None, reason: Reason | None = None) -> WildVariant:
    audits = [
        WildAudit(
            level=LEVEL,
            seed=i,
            trials=100,
            counted=80,
            verdict=verdict,
            reason=reason if verdict is Verdict.INCONCLUSIVE else None,
            p_value=1.0,
            direction=None,
            lower_bound=None,
            counts=None,
            detectable=None,
            seconds=0.0,
        )
        for i, verdict in enumerate(verdicts)
    ]
    return WildVariant(name="as_coded", settings={}, exact=exact, audits=tuple(audits))


R, N, X = Verdict.REFUTED, Verdict.NOT_REFUTED, Verdict.INCONCLUSIVE


def test_a_row_is_refuted_by_every_repeat_or_false_by_a_closed_form_or_neither() -> None:
    beyond, broken = Reason.CANNOT_BE_REFUTED_AT_THIS_N, Reason.NOT_REPRODUCIBLE
    assert shown_by(audited(R, R, R, exact=0.5), 1.0) == "refuted"
    assert shown_by(audited(R, R, N), 1.0) == "inconclusive"
    assert shown_by(audited(N, N, N, exact=0.9), 1.0) == "not_refuted"
    assert shown_by(audited(N, N, N, exact=1.0), 1.0) == "not_refuted"
    assert shown_by(audited(N, N, N, exact=1.1), 1.0) == "false_exactly"
    assert shown_by(audited(X, X, exact=1.1, reason=beyond), 1.0) == "false_exactly"
    assert shown_by(audited(X, X, reason=beyond), 1.0) == "inconclusive"
    # Equal releases are no trials: no exact value makes a verdict of them.
    assert shown_by(audited(X, X, exact=float("inf"), reason=broken), 1.0) == "inconclusive"


def test_a_canary_outside_its_assumptions_moves_the_row() -> None:
    made = published("finetuning_gradient")
    assert category_of(made, "refuted") == "code"
    assert category_of(made, "not_refuted") == "checked"
    outside = replace(made, assumptions=(Assumption(statement="norm", value=1.1, limit=1.0),))
    assert category_of(outside, "refuted") == "assumption"
    assert category_of(published("edge_unlearning"), "inconclusive") == "nothing"


def test_seeds_come_from_the_version_and_are_all_different() -> None:
    seeds = [seed_of(name, i) for name in ("newton_step", "noisy_sgd") for i in range(4)]
    assert len(set(seeds)) == 8
    with pytest.raises(InvalidInputError, match="no_such_row"):
        WildSettings(names=("no_such_row",)).rows()
    assert WildSettings(names=("noisy_sgd", "noisy_sgd")).rows() == ("noisy_sgd",)
    assert WildSettings(quick=True, names=("noisy_sgd",)).command == "unlearn-audit wild --quick --row noisy_sgd"


def test_differences_are_of_categories_and_verdicts_only(table: WildResult) -> None:
    assert differences(table, table, whole=True) == ()
    (missing,) = differences(replace(table, rows=table.rows[1:]), table, whole=True)
    assert missing == f"{table.rows[0].name}: no longer in the table"
    first = next(row for row in table.rows if row.shown == "refuted")
    longer = replace(first, epsilon=first.epsilon + 1, cause="Other words.", audited=audited(R))
    assert differences(replace(table, rows=(longer,)), table) == ()
    assert first.twin is not None
    changed = replace(
        first,
        category="checked",
        shown="not_refuted",
        twin=replace(first.twin, audits=audited(R).audits),
    )
    said = differences(replace(table, rows=(changed,)), table)
    assert len(said) == 3
    assert f"{first.name}: the category was {first.category} and is checked" in said
    (unknown,) = differences(replace(table, rows=(replace(first, name="new"),)), table)
    assert unknown == "new: the committed table has no such row"


def test_the_json_round_trips_and_follows_its_schema(table: WildResult) -> None:
    assert WildResult.from_json(table.to_json()) == table
    schema = json.loads((schemas.FOLDER / "wild-1.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(json.loads(table.to_json()))
    with pytest.raises(SchemaError, match="wild/1"):
        WildResult.from_json('{"schema": "unlearn-audit/selftest/1"}')


def test_every_format_says_what_was_found_and_what_differs(table: WildResult) -> None:
    for text in (wild_markdown(table), wild_html(table)):
        plain = text.replace("\\", "")
        assert all(row.name in plain and row.title in plain for row in table.rows)
        assert "not yet reported to the authors" in plain
    assert "those of the committed table" in wild_summary(table, ())
    assert "NOT as committed" in wild_summary(table, ("a: changed",))
    assert "no committed table" in wild_summary(table, None)


def test_shared_noise_is_exceeded_beyond_rounding_only() -> None:
    shared = SharedNoise(shift=0.2000000000000001, record=0, declared=0.2, records=3, distinct=2, beyond=0, streams=8)
    assert not shared.exceeded
    assert "within the declared 0.2" in shared_randomness(shared)
    more = replace(shared, shift=0.2001, beyond=2)
    assert more.exceeded
    assert "each of 3 records deleted alone (2 of them different)" in shared_randomness(more)
    assert "with 2 records beyond the declared 0.2" in shared_randomness(more)


def test_the_same_random_numbers_are_tried_with_every_record_deleted() -> None:
    """As coded learning has not converged, so that deletion steps move the model whichever record is deleted."""
    made = published("descent_to_delete_norm")
    assert made.of_record is not None
    assert made.declared_shift is not None
    shared = shared_noise(made)
    assert shared is not None
    assert (shared.records, shared.distinct, shared.record, shared.beyond) == (1000, 2, 1, 1000)
    own, other = made.of_record(0), made.of_record(7)
    assert isinstance(own, GaussianRelease)
    assert isinstance(other, GaussianRelease)
    assert shared.shift == pytest.approx(other.shift, rel=1e-6)
    assert other.shift > own.shift > made.declared_shift
    assert shared_noise(published("finetuning_model")) is None


def context(shape: tuple[int, ...] = (1, 1)) -> AttackContext:
    data = from_arrays(np.ones((3, 1)), np.arange(3.0), kind="regression")
    return AttackContext(retained=data.without((0,)), deleted=data.take((0,)), release=ReleaseSpec(shape=shape))


def test_density_ratio_finds_an_event_inside_the_line() -> None:
    rng = np.random.default_rng(3)
    retrained = rng.normal(size=(3000, 1, 1))
    unlearned = np.where(rng.random((3000, 1, 1)) < 0.3, 0.1 * rng.normal(size=(3000, 1, 1)), retrained)
    fitted = DensityRatio().fit(unlearned, retrained, context(), rng=rng)
    scores = fitted.score(np.array([-2.0, 0.0, 2.0])[:, None, None])
    assert scores[1] > 0.5 > -0.1 > scores[0]
    assert scores[1] > scores[2]
    # Bits: parts that no trial lies in have a finite score.
    bits = DensityRatio().fit(np.ones((100, 1, 1)), np.zeros((100, 1, 1)), context(), rng=rng)
    assert np.isfinite(bits.score(np.array([0.0, 0.5, 1.0])[:, None, None])).all()
    assert bits.score(np.ones((1, 1, 1)))[0] > bits.score(np.zeros((1, 1, 1)))[0]


def test_density_ratio_refuses_what_it_cannot_score() -> None:
    rng = np.random.default_rng(3)
    with pytest.raises(NotApplicableError, match="one number"):
        DensityRatio().fit(np.ones((100, 2)), np.ones((100, 2)), context((2,)), rng=rng)
    with pytest.raises(NotApplicableError, match="at least 60"):
        DensityRatio().fit(np.ones((10, 1)), np.ones((10, 1)), context((1,)), rng=rng)
    assert "one number" in str(DensityRatio().trouble(context((2,)), n_fit=100))
    assert DensityRatio().trouble(context(), n_fit=100) is None
