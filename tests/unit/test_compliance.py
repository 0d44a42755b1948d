"""The summary for a compliance file: every question answered, in words that say no more than the result."""

from __future__ import annotations

import dataclasses
import math
import re

import numpy as np
import pytest

import audit
import reports
from audit.records.result import AuditCollection, AuditResult
from audit.records.verdict import Verdict
from mechanisms.claim import Claim, EpsilonDelta
from reports.audits import compliance, html, markdown
from tests.unit.page_checks import html_text, unescaped

QUESTIONS = (
    *("What was deleted", "What was claimed", "What was found", "What to do next", "What it does not show"),
    *("What was tested", "At which level", "Who can repeat it, and how"),
)


def answers(result: AuditResult) -> dict[str, str]:
    return {passage.heading: passage.text for passage in (*compliance.passages(result), *compliance.method(result))}


def test_every_question_is_answered_before_the_numbers(collection: AuditCollection) -> None:
    one = collection.results[1]
    for text in (unescaped(html_text(html.render(one))), unescaped(markdown.render(one))):
        places = [text.index(question) for question in QUESTIONS]
        assert places == sorted(places)
        assert places[-1] < text.index("What this does not show") < text.index("Parameters of this deletion")


def test_the_answers_are_those_of_the_result(collection: AuditCollection) -> None:
    said = answers(collection.results[1])
    assert said["What was deleted"] == (
        "2 deletions, one at a time, from digits (1,500 records): record 757 (hardest) and record 1463 (easiest)."
    )
    assert "a privacy profile (ε ≤ 0.503 at δ = 1e-5), computed from the exact law" in said["What was claimed"]
    assert "20,000 models were unlearned and as many retrained by ridge_langevin" in said["What was tested"]
    assert "14,000 models of each kind" in said["What was tested"]
    assert "10 controls; its sampling behaved as it must" in said["What was tested"]
    assert "was not seen in 2 of them" in said["What was tested"]
    found = said["What was found"]
    assert "Refuted: record 757 (hardest). Shown where a claim is refuted: ε of at least " in found
    assert found.endswith("would have been refuted with probability 0.8.")
    assert said["What to do next"].startswith("Do not rely on a refuted claim")
    assert "shared by all 16 tests" in said["At which level"]
    repeated = said["Who can repeat it, and how"]
    for word in (
        "9f" * 32,
        "“unlearn-audit run plan.toml --out out --seed 7”",
        "seed 7",
        "numpy 2.3.5",
        "Python 3.11.2",
    ):
        assert word in repeated


def test_a_failed_control_is_said(collection: AuditCollection) -> None:
    one = collection.results[0]
    broken = dataclasses.replace(one.controls[0], as_expected=False)
    said = answers(dataclasses.replace(one, controls=(broken, *one.controls[1:])))
    assert "not as expected: Retrained against retrained." in said["What was tested"]


def test_what_is_not_shown_is_said_in_five_lines(collection: AuditCollection) -> None:
    for one in collection.results:
        [passage] = [p for p in compliance.passages(one) if p.heading == "What it does not show"]
        assert len(passage.lines) == 5
        assert " ".join(passage.lines) == passage.text
        assert all(f"<li>{line}</li>" in html.render(one) for line in passage.lines)


def test_page_one_says_why_nothing_was_decided(collection: AuditCollection) -> None:
    """Each reason once; the numbers of a record where they are those of all that it is about."""
    one = collection.results[2]
    said = answers(one)["What was found"]
    assert said.startswith("5 claims audited: 1 refuted and 4 inconclusive. Refuted: record 3. ")
    assert (
        "Inconclusive (record 11): what is claimed lies above everything that this many trials could ever show" in said
    )
    assert "(at most ε = 7.13 at δ = 0)" in said
    assert "Inconclusive (record 12 and record 13): lda could not be run, so" in said
    assert "Inconclusive (record 14): a control of the sampling failed" in said
    differs = dataclasses.replace(one.findings[2], failures={"influence": "broken"})
    mixed = answers(dataclasses.replace(one, findings=(differs, one.findings[3])))["What was found"]
    assert "Inconclusive: an attack could not be run, so the audit is weaker than planned." in mixed
    alone = dataclasses.replace(one, findings=one.findings[1:2])
    found = answers(alone)["What was found"]
    assert found.startswith("1 claim audited: 1 inconclusive. Inconclusive: what is claimed lies above")


def test_an_epsilon_that_cannot_be_seen_is_not_said_to_be_seen(collection: AuditCollection) -> None:
    one = collection.results[0]
    first, *others = one.findings
    blind = dataclasses.replace(
        first, sandwiches=tuple(dataclasses.replace(s, detectable_epsilon=math.inf) for s in first.sandwiches)
    )
    nowhere = answers(dataclasses.replace(one, findings=(blind,)))["What was found"]
    assert nowhere.endswith(
        "not refuted (1 weak). No true ε can be named that would have been refuted with probability 0.8."
    )
    somewhere = answers(dataclasses.replace(one, findings=(blind, *others)))["What was found"]
    assert re.search(r" A true ε of 0\.\d+ to \d", somewhere)
    assert somewhere.endswith("Of 1 claim no true ε can be named that would have been refuted with probability 0.8.")
    assert "∞" not in nowhere + somewhere


def test_differing_claims_are_listed_and_many_are_counted(collection: AuditCollection) -> None:
    said = answers(collection.results[0])["What was claimed"]
    assert re.search(r"of record 757 \(hardest\), record 465 \(median\) and record 1463 \(easiest\), a privacy", said)
    assert "of record 5 (published), Gaussian differential privacy with μ ≤ 0.569" in said
    first = collection.results[0].findings[0]
    many = tuple(dataclasses.replace(first, forget=(i,), label="") for i in range(20))
    plan = dataclasses.replace(collection.results[0].plan, forget=tuple(f.forget for f in many), labels=())
    deleted = answers(dataclasses.replace(collection.results[0], findings=many, plan=plan))["What was deleted"]
    assert deleted.endswith("record 5, and 14 more, in the annex.")


def test_given_scores_are_not_said_to_be_drawn() -> None:
    rng = np.random.default_rng(1)
    claim = Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=1e-5))
    said = answers(audit.from_scores(rng.normal(0, 1, 300), rng.normal(0, 1, 200), claim=claim, seed=5))
    assert said["What was deleted"].startswith("Not known to the audit.")
    assert "300 models that were filed as unlearned, and 200 as retrained, were given" in said["What was tested"]
    assert "ε ≤ 1 at δ = 1e-5, stated by the user" in said["What was claimed"]
    assert "the audit cannot tell whether it was" in said["At which level"]
    assert "no command was recorded" in said["Who can repeat it, and how"]
    text = " ".join(said.values())
    assert "sampler:" not in text


def test_all_that_was_deleted_is_in_the_annex(collection: AuditCollection) -> None:
    assert compliance.annex(collection.results[0]) is None
    plan = collection.results[0].plan
    for forget in (tuple((i,) for i in range(7)), (tuple(range(5)),)):
        labels = tuple(f"name {i}" for i in range(len(forget)))
        long = dataclasses.replace(collection.results[0], plan=dataclasses.replace(plan, forget=forget, labels=labels))
        annex = compliance.annex(long)
        assert annex is not None
        assert [row[1] for row in annex.rows] == list(labels)
        assert [row[2] for row in annex.rows] == [", ".join(map(str, records)) for records in forget]
        for text in (html_text(html.render(long)), markdown.render(long)):
            assert "Annex: what was deleted" in text
        assert compliance.annex(reports.redact(long)) is None


@pytest.mark.parametrize(
    ("verdict", "word"),
    [
        (Verdict.REFUTED, "Do not rely on a refuted claim"),
        (Verdict.NOT_REFUTED, "together with the smallest ε that would have been seen"),
        (Verdict.INCONCLUSIVE, "mend that, and audit again"),
    ],
)
def test_what_to_do_next_follows_the_verdict(collection: AuditCollection, verdict: Verdict, word: str) -> None:
    one = collection.results[0]
    alone = dataclasses.replace(one, findings=(dataclasses.replace(one.findings[0], verdict=verdict),))
    said = answers(alone)["What to do next"]
    assert word in said
    assert said.count(".") <= 4
