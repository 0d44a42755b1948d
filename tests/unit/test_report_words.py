"""The words of a report: every verdict and reason is said, and nothing makes more of it than it is."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path

import reports
from audit.records.evidence import Finding
from audit.records.result import AuditCollection, read_json
from audit.records.verdict import Reason, Verdict
from reports.audits import compliance, html, terminal, words
from reports.audits.view import page
from reports.page.numbers import all_of, up
from tests.unit.page_checks import (
    check_html,
)
from tests.unit.report_cases import (
    certificates,
    finding,
    hopeless,
    make_collection,
    point_claim,
    profile_claim,
    promising_nothing,
    result,
)


def test_every_verdict_is_said_in_words_in_both_formats(collection: AuditCollection, texts: dict[str, str]) -> None:
    view = page(collection)
    findings = [f for audit in view.audits for f in audit.findings]
    originals = [f for r in collection.results for f in r.findings]
    assert len(findings) == len(originals) == 11
    for part, original in zip(findings, originals, strict=True):
        assert part.verdict.key == original.verdict.value
        assert part.verdict.text == original.verdict.value.upper().replace("_", " ")
        for name in ("html", "md"):
            for said in (part.sentence, part.strength, part.verdict.text):
                assert said in texts[name], (name, said)
    for name in ("html", "md", "terminal"):
        for word in ("✕ REFUTED", "○ NOT REFUTED", "? INCONCLUSIVE"):
            assert word in texts[name].replace("  ", " "), (name, word)


def test_not_refuted_never_comes_without_what_could_have_been_refuted(collection: AuditCollection) -> None:
    for audit, r in zip(page(collection).audits, collection.results, strict=True):
        for part, original in zip(audit.findings, r.findings, strict=True):
            if original.verdict is Verdict.NOT_REFUTED:
                sandwich = original.sandwiches[0]
                assert f"probability 0.8 is {up(sandwich.detectable_epsilon)}" in part.strength
                assert "a Gaussian shift" in part.strength
                assert f"ε = {up(sandwich.ceiling)} (the ceiling)" in part.strength


def test_reasons_are_given_in_plain_words(texts: dict[str, str]) -> None:
    for said in (
        "what is claimed lies above everything that this many trials could ever show (at most ε = 7.13 at δ = 0)",
        "lda could not be run, so the audit is weaker than planned.",
        "No attack could be run: there is no lower bound.",
        "evidence from a broken sampler speaks neither for nor against a claim.",
        "At δ = 0 no Gaussian shift has a finite ε, so that no smallest detectable one can be stated",
        "Attack lda could not be run: Expected at least 132 trials, got 70; draw more.",
        "Proof gap: the accounting conditions on an event that depends on the noise it then uses.",
    ):
        assert said in texts["html"], said
        assert said in texts["md"], said


def said_of(made: Finding) -> str:
    return page(result("One", (made,))).audits[0].findings[0].sentence


def test_every_reason_is_said() -> None:
    made = hopeless()
    assert "more trials are needed" in said_of(made)
    assert "stopped before all" in said_of(dataclasses.replace(made, reason=Reason.CUT_SHORT))
    assert "a claim before this one was not refuted" in said_of(dataclasses.replace(made, reason=Reason.NOT_TESTED))
    assert "more trials failed than the plan allows" in said_of(dataclasses.replace(made, reason=Reason.TRIALS_FAILED))
    assert "no reason was recorded" in said_of(dataclasses.replace(made, reason=None))
    assert set(Reason) == {
        Reason.CANNOT_BE_REFUTED_AT_THIS_N,
        Reason.CUT_SHORT,
        Reason.ATTACK_FAILED,
        Reason.NOT_REPRODUCIBLE,
        Reason.NOT_TESTED,
        Reason.TRIALS_FAILED,
    }


def test_an_audit_that_could_detect_nothing_says_so() -> None:
    made = finding(point_claim(9.5, 1e-5), 11, "", shown=0.2, true=0.3, verdict=Verdict.INCONCLUSIVE, p_value=1.0)
    blind = dataclasses.replace(
        made, sandwiches=tuple(dataclasses.replace(s, detectable_epsilon=math.inf) for s in made.sandwiches)
    )
    strength = page(result("One", (blind,))).audits[0].findings[0].strength
    assert "No true ε, however large, would have been refuted with probability 0.8" in strength


def test_a_claim_of_no_finite_epsilon_is_drawn_and_said() -> None:
    made = promising_nothing()
    assert "no finite ε at δ = 0, could not be decided: it promises no finite ε" in said_of(made)
    check_html(html.render(result("One", (made,))))
    assert "no finite ε, δ = 0" in terminal.summary(result("One", (made,)))


def test_a_claim_of_no_finite_epsilon_survives_the_json(tmp_path: Path) -> None:
    made = result("One", (promising_nothing(),))
    (path,) = reports.write(made, tmp_path, formats=("json",), show_records=True)
    assert read_json(path.read_text(encoding="utf-8")) == made


def test_no_word_makes_more_of_a_verdict_than_it_is(texts: dict[str, str]) -> None:
    for text in texts.values():
        assert not re.search(r"\b(passed|passes|safe|certified|proven|proved|verified)\b", text, flags=re.IGNORECASE)


def test_limits_stand_before_the_records_and_name_the_sampler(
    collection: AuditCollection, texts: dict[str, str]
) -> None:
    for name in ("html", "md"):
        text = texts[name]
        assert text.index("What this does not show") < text.index("Parameters of this deletion")
        assert "only stepwise, which runs every training step, tests the laws" in text
        assert "Each audit is a family of its own." in text
    for sampler, said in (("stepwise", "shares no code with the laws"), ("user functions", "your production code")):
        alone = page(dataclasses.replace(collection.results[0], sampler=sampler))
        assert said in " ".join(passage.text for passage in alone.limits)
        assert "Each audit is a family of its own." not in [passage.heading for passage in alone.limits]


def test_a_certificate_hardly_below_epsilon_without_unlearning_is_noted() -> None:
    claim = profile_claim(0.1422)
    made = finding(
        claim, 1, "", shown=0.1, true=0.1422, verdict=Verdict.NOT_REFUTED, certificates=certificates(0.1422, 0.52)
    )
    notes = page(result("One", (made,))).audits[0].findings[0].notes
    assert any("hardly below ε without unlearning (0.52)" in note for note in notes)
    assert any("not below ε without unlearning (0.52): the learning noise alone does more" in note for note in notes)
    assert not page(make_collection().results[0]).audits[0].findings[0].notes


def test_a_bound_above_the_exact_epsilon_is_noted(collection: AuditCollection) -> None:
    lost, kept = page(collection).audits[1].findings
    assert len([note for note in lost.notes if "what was sampled is not what the certificate describes" in note]) == 2
    assert kept.notes == ()
    broken = dataclasses.replace(
        collection.results[1].findings[0], verdict=Verdict.INCONCLUSIVE, reason=Reason.NOT_REPRODUCIBLE
    )
    assert page(result("One", (broken,))).audits[0].findings[0].notes == ()


def test_one_of_a_kind_is_no_plural(collection: AuditCollection) -> None:
    more = collection.results[0]
    one = dataclasses.replace(more, family=dataclasses.replace(more.family, members=more.family.members[:1]))
    for audited in (one, more):
        said = f"{compliance._level(audited)} {words.ledger(audited.family)}"
        assert " 1 tests" not in said
        assert "all 1 " not in said
        assert ("for the one test of this audit:" in said) == (audited is one)
    assert (all_of(1, "pair"), all_of(1200, "pair")) == ("the one pair", "all 1,200 pairs")
