"""Which deletions a claim is about: words, JSON, plan files, the command line, and audits that are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

import audit
from audit.cli import main
from audit.commands.options.claims import covers_of
from audit.commands.plan_file.reading import read_plan
from audit.errors import PlanError
from audit.plan.audit_plan import AuditPlan
from audit.records.json_text import dump, load
from audit.records.words.phrases import claim_text
from audit.running.forecast_plan import forecast
from mechanisms.adapters.functions import from_functions
from mechanisms.claim import (
    Claim,
    Covers,
    EpsilonDelta,
    Exactly,
    GaussianDP,
    OneRecord,
    ThisSet,
    UpTo,
)
from mechanisms.dataset import Dataset, from_arrays
from mechanisms.errors import InvalidInputError
from reports.audits.view import page

Array = NDArray[np.float64]
POINT = EpsilonDelta(epsilon=1.0, delta=1e-5)
# What is covered, its words, and which of the sizes 1, 2, 3, 4 it includes.
KINDS: list[tuple[Covers, str, str]] = [
    (ThisSet(), "this set", "1234"),
    (OneRecord(), "any one record", "1"),
    (Exactly(k=1), "any set of exactly 1 record", "1"),
    (Exactly(k=3), "any set of exactly 3 records", "3"),
    (UpTo(k=1), "any set of up to 1 record", "1"),
    (UpTo(k=3), "any set of up to 3 records", "123"),
]
PLAN = """
schema = "unlearn-audit/plan/1"
trials = 100
[data]
name = "diabetes"
[mechanism]
name = "ridge_langevin"
sigma_unlearn = 0.01
[records]
forget = {forget}
[[claims]]
kind = "{kind}"
{values}
{covers}
"""


def learn(data: Dataset, rng: np.random.Generator) -> Array:
    return data.targets[:, 0].sum() + rng.standard_normal(1)


def unlearn(model: Array, retained: Dataset, forget: Dataset, rng: np.random.Generator) -> Array:
    return model - forget.targets.sum() + rng.standard_normal(1)


MECHANISM = from_functions(learn=learn, unlearn=unlearn, release=1)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return from_arrays(np.eye(12), np.arange(12.0), name="twelve", kind="regression")


@pytest.mark.parametrize(("covers", "words", "sizes"), KINDS)
def test_words_and_sizes(covers: Covers, words: str, sizes: str) -> None:
    assert covers.words == words
    assert [n for n in range(5) if covers.includes(n)] == [int(size) for size in sizes]


@pytest.mark.parametrize("covers", [kind[0] for kind in KINDS])
def test_a_claim_goes_through_json(covers: Covers) -> None:
    claim = Claim(guarantee=POINT, covers=covers)
    assert load(dump(claim), Claim, schemas=("claim",)) == claim
    assert json.loads(dump(claim))["covers"]["kind"] == covers.kind


def test_a_claim_that_was_stored_before_is_about_its_own_set() -> None:
    stored = json.loads(dump(Claim(guarantee=POINT)))
    del stored["covers"]
    assert load(json.dumps(stored), Claim, schemas=("claim",)) == Claim(guarantee=POINT)


@pytest.mark.parametrize("k", [0, -1, 1.5, True, "2", None])
def test_a_number_of_records_is_a_whole_number(k: Any) -> None:
    for kind in (Exactly, UpTo):
        with pytest.raises(InvalidInputError, match=r"covers\.k.*(a whole number|at least 1)"):
            kind(k=k)
    with pytest.raises(InvalidInputError, match=r"covers.*ThisSet, OneRecord, Exactly, UpTo or OnAverage"):
        Claim(guarantee=POINT, covers=k)


@pytest.mark.parametrize(("covers", "words", "sizes"), KINDS)
def test_reports_say_what_is_covered(covers: Covers, words: str, sizes: str) -> None:
    for guarantee in (POINT, GaussianDP(mu=0.5)):
        said = claim_text(Claim(guarantee=guarantee, covers=covers), 1e-5)
        plain = claim_text(Claim(guarantee=guarantee), 1e-5)
        assert said == (plain if covers == ThisSet() else f"{plain}, claimed for {words}")


@pytest.mark.parametrize(("covers", "words", "sizes"), KINDS)
@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_an_audit_of_a_set_that_is_not_covered_is_refused(
    data: Dataset, covers: Covers, words: str, sizes: str, n: int
) -> None:
    # Sixty trials could not refute it: there is nothing to work out that they could detect.
    claim, forget = Claim(guarantee=EpsilonDelta(epsilon=9.0, delta=1e-5), covers=covers), tuple(range(2, 2 + n))
    plan = AuditPlan(claims=(claim,), forget=(forget,), attacks=("lda",), trials=60)
    if str(n) in sizes:
        assert forecast(MECHANISM, data, plan, margins=()).claims
        return
    for audited in (
        lambda: audit.run(MECHANISM, data, plan),
        lambda: audit.run(MECHANISM, data, forget=forget, claim=claim, trials=60),
        lambda: forecast(MECHANISM, data, plan),
    ):
        with pytest.raises(InvalidInputError, match=rf"claim\.covers.*{n} records? at once.*a claim about {words}"):
            audited()


def test_a_result_and_its_page_say_it(data: Dataset) -> None:
    claim = Claim(guarantee=GaussianDP(mu=1.0), covers=UpTo(k=2))
    result = audit.run(MECHANISM, data, forget=(3, 4), claim=claim, trials=60, attacks=("lda",))
    assert result.findings[0].claim.covers == UpTo(k=2)
    assert result.plan.claims == ("Gaussian DP with mu = 1, claimed for any set of up to 2 records",)
    assert audit.AuditResult.from_json(result.to_json()) == result
    assert "claimed for any set of up to 2 records" in str(page(result))


@pytest.mark.parametrize(
    ("written", "covers"),
    [
        ("", ThisSet()),
        ('covers = "this_set"', ThisSet()),
        ('covers = "one_record"', OneRecord()),
        ("covers = { exactly = 2 }", Exactly(k=2)),
        ("covers = { up_to = 2 }", UpTo(k=2)),
    ],
)
@pytest.mark.parametrize(("kind", "values"), [("gaussian_dp", "mu = 0.5"), ("epsilon_delta", "epsilon = 1\ndelta = 0")])
def test_a_plan_file_says_it(tmp_path: Path, written: str, covers: Covers, kind: str, values: str) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(PLAN.format(forget="[[3]]", kind=kind, values=values, covers=written))
    (claim,) = read_plan(path).plan.claims
    assert isinstance(claim, Claim)
    assert claim.covers == covers


@pytest.mark.parametrize(
    "written",
    [
        'covers = "two"',
        "covers = 2",
        "covers = {}",
        "covers = { exactly = 0 }",
        "covers = { up_to = 1.5 }",
        "covers = { exactly = 1, up_to = 2 }",
        "covers = { most = 2 }",
    ],
)
def test_a_plan_file_that_says_something_else_is_refused(tmp_path: Path, written: str) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(PLAN.format(forget="[[3]]", kind="gaussian_dp", values="mu = 0.5", covers=written))
    with pytest.raises(PlanError, match=r"claims\.0\.gaussian_dp\.covers"):
        read_plan(path)


@pytest.mark.parametrize(
    ("text", "covers"),
    [("this_set", ThisSet()), ("one_record", OneRecord()), ("exactly:3", Exactly(k=3)), ("up_to:12", UpTo(k=12))],
)
def test_a_word_of_the_command_line(text: str, covers: Covers) -> None:
    assert covers_of(text) == covers


@pytest.mark.parametrize("text", ["", "all", "up_to", "up_to:", "up_to:0", "exactly:-1", "exactly:2.0", "one_record:1"])
def test_other_words_of_the_command_line_are_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match=r"--covers.*up_to:K"):
        covers_of(text)


def test_scores_are_audited_for_what_is_covered(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("u", "r"):
        np.save(tmp_path / f"{name}.npy", rng.normal(size=200))
    arguments = ["scores", str(tmp_path / "u.npy"), str(tmp_path / "r.npy"), "--epsilon", "1", "--covers", "up_to:3"]
    done = CliRunner().invoke(main, [*arguments, "--json"])
    result = audit.AuditResult.from_json(done.stdout)
    assert result.findings[0].claim.covers == UpTo(k=3)
    assert result.environment.command is not None
    assert "--covers=up_to:3" in result.environment.command
