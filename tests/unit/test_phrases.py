"""What must not be left out of a verdict, in the same words wherever a result is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import audit
import reports
from audit.records.result import AuditResult
from audit.records.verdict import Verdict
from audit.records.words import phrases
from mechanisms.claim import Claim, EpsilonDelta
from mechanisms.ridge.langevin import RidgeLangevin
from mechanisms.sources import load_named
from reports.audits import html, junit, markdown, terminal


def audited(epsilon: float, delta: float, shift: float, n: int = 400) -> AuditResult:
    rng = np.random.default_rng(3)
    claim = Claim(guarantee=EpsilonDelta(epsilon=epsilon, delta=delta))
    return audit.from_scores(rng.standard_normal(n) + shift, rng.standard_normal(n), claim=claim)


def told(result: AuditResult) -> dict[str, str]:
    return {
        "print": str(result),
        "card": result._repr_html_(),
        "describe": result.describe(),
        "terminal": terminal.summary(result, width=300),
        "html": html.render(result),
        "markdown": markdown.render(result),
        "junit": junit.render_results(result),
    }


def test_what_could_hardly_have_been_refuted_is_headed_weak_everywhere() -> None:
    result = audited(0.5, 0.01, 0.1)
    (finding,) = result.findings
    assert finding.verdict is Verdict.NOT_REFUTED
    assert finding.quoted is not None
    assert finding.quoted.detectable_epsilon > 2 * finding.quoted.claimed
    texts = told(result)
    for where, text in texts.items():
        assert "NOT REFUTED, weak" in text, where
    for where in ("print", "card", "terminal", "html", "markdown", "junit"):
        assert "not refuting says little" in texts[where], where
    assert result.verdict is Verdict.NOT_REFUTED


def test_what_would_have_been_refuted_is_not_headed_weak() -> None:
    result = audited(2.0, 0.01, 0.1, n=4000)
    (finding,) = result.findings
    assert finding.quoted is not None
    assert finding.quoted.claimed < finding.quoted.detectable_epsilon < 2 * finding.quoted.claimed
    for where, text in told(result).items():
        assert "NOT REFUTED" in text, where
        assert "weak" not in text, where


def test_a_refuted_claim_is_never_weak() -> None:
    result = audited(0.1, 0.01, 2.0)
    assert result.verdict is Verdict.REFUTED
    assert not any("weak" in text for text in told(result).values())


def test_print_names_the_alternative() -> None:
    assert "of a Gaussian shift, at the best threshold" in str(audited(0.5, 0.01, 0.1))
    pure = audited(0.5, 0.0, 0.1)
    assert "of randomised response" in str(pure)
    assert "∞" not in str(pure)
    assert "randomised response" in html.render(pure)


def test_print_says_why_nothing_was_decided() -> None:
    result = audited(40.0, 0.0, 0.0)
    assert result.verdict is Verdict.INCONCLUSIVE
    for where, text in told(result).items():
        assert "more trials are needed" in text, where


def test_print_says_that_an_ignored_deletion_was_not_noticed() -> None:
    from audit.records.ledger import Control

    result = audited(2.0, 0.01, 0.1, n=4000)
    control = Control(
        name="neglected", forget=(), label="", as_expected=False, message="It was not seen.", n_trials=800
    )
    blind = replace(result, controls=(*result.controls, control))
    for where, text in told(blind).items():
        assert "ignored on purpose was not noticed either" in text, where


def test_an_ignored_deletion_that_was_never_tried_is_not_said_to_have_gone_unnoticed() -> None:
    """A control has a fifth of the trials, and an attack may be fitted on the whole and not on its share."""
    data, mechanism = load_named("digits", rows=40), RidgeLangevin(n_learn=5, n_unlearn=2, sigma_unlearn=0.05)
    claim = Claim(guarantee=EpsilonDelta(epsilon=2.0, delta=0.01))
    result = audit.run(mechanism, data, forget=3, claim=claim, trials=400, attacks=["portfolio:tail"], seed=1)
    assert result.verdict is Verdict.NOT_REFUTED
    untried = [c for c in result.controls if c.name in ("null", "neglected")]
    assert [c.was_tried for c in untried] == [False, False]
    assert all("portfolio:tail: " in c.message for c in untried)
    for where, text in told(result).items():
        assert "not noticed" not in text, where
        assert "would have been noticed is not known" in text, where
    for render in (html.render, markdown.render):
        assert "not tried" in render(result)
        assert "Not tried, for no attack could be scored: Deletion ignored and Retrained against retrained." in render(
            result
        )
    for redacted in (reports.redact(result), reports.redact(audited(2.0, 0.01, 0.1))):
        assert isinstance(redacted, AuditResult)
        assert "not noticed" not in str(redacted)


def test_a_p_value_at_its_floor_says_so() -> None:
    strong, weak = audited(0.5, 1e-5, 9.0), audited(0.5, 1e-5, 1.0)
    of_strong, of_weak = told(strong), told(weak)
    for where in ("describe", "html", "markdown", "junit"):
        assert "the smallest that this test can state" in of_strong[where], where
        assert "the smallest that this test can state" not in of_weak[where], where
    old = replace(strong, findings=(replace(strong.findings[0], tests=_without_floors(strong)),))
    assert "smallest that" not in old.describe()


def _without_floors(result: AuditResult) -> tuple[audit.records.evidence.EventTest, ...]:
    return tuple(replace(test, p_value_floor=None) for test in result.findings[0].tests)


def test_given_files_are_not_said_to_be_retrained_by_anything(tmp_path: Path) -> None:
    result = audited(0.5, 0.01, 0.1)
    reports.write(result, tmp_path)
    for text in (*told(result).values(), (tmp_path / "report.json").read_text("utf-8")):
        assert "retrained by" not in text
        assert "releases the unlearned model many times" not in text
    assert "filed as unlearned" in markdown.render(result)


def test_a_data_set_shows_shapes_and_no_record() -> None:
    data = load_named("digits", rows=150)
    assert repr(data).startswith("<Dataset 'digits': classification, 150 records of 65 features and 10 targets")
    assert "array" not in repr(data)


@pytest.mark.parametrize("verdict", Verdict)
def test_every_verdict_has_a_symbol_and_a_name(verdict: Verdict) -> None:
    assert phrases.spoken(verdict) == f"{phrases.SYMBOLS[verdict]} {phrases.name(verdict)}"
    assert phrases.name(verdict).lower().replace(" ", "_") == verdict.value
