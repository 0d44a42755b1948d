"""How a result shows itself: short in a prompt, readable in a terminal, a card in a notebook."""

from __future__ import annotations

import pydoc
import re
import subprocess
import sys
from pathlib import Path

import audit
from audit.records.accounts import cards
from audit.records.accounts.remarks import remarks
from audit.records.result import AuditCollection
from audit.records.verdict import Verdict
from audit.records.words.rounding import as_float
from reports.redaction import redact
from tests.unit.page_checks import Checker
from tests.unit.report_cases import HOSTILE, hostile_collection, result

ROOT = Path(audit.__file__).parents[1]


def n_remarks(collection: AuditCollection) -> int:
    return sum(len(remarks(f, r.controls, r.plan.trials)) for r in collection.results for f in r.findings)


def test_a_prompt_shows_one_line(collection: AuditCollection) -> None:
    one = collection.results[1]
    assert repr(one) == "<AuditResult 'The service lost the request': 2 claims: 1 refuted and 1 not refuted>"
    assert repr(collection).startswith("<AuditCollection 'Deleting three digits': 11 claims: ")
    assert repr(one.findings[0]) == (
        "<Finding ✕ REFUTED, record 757 (hardest): ε ≥ 1.31 where ε ≤ 0.259 is claimed at δ = 0.002186>"
    )


def test_print_shows_each_finding_with_its_numbers(collection: AuditCollection) -> None:
    lines = str(collection).splitlines()
    for verdict in ("✕ REFUTED", "○ NOT REFUTED", "? INCONCLUSIVE"):
        assert any(line.strip().startswith(verdict) for line in lines)
    assert len(lines) == len(collection.findings) + n_remarks(collection) + 2 * len(collection.results)
    assert "no proof that a claim is true" in str(collection)
    assert "detectable from ε = 0.421" in str(collection)
    assert "no lower bound" in str(collection)
    for finding in collection.findings:
        if finding.sandwiches:
            shown, claimed = re.findall(r"ε [≥≤] (\S+)", cards.found(finding))[:2]
            best = next((s for s in finding.sandwiches if s.bound.value > s.claimed), finding.sandwiches[0])
            assert as_float(shown) <= best.bound.value
            assert as_float(claimed) >= best.claimed


def test_a_notebook_shows_a_card_that_is_plain_html(collection: AuditCollection) -> None:
    for value in (collection, collection.results[0], hostile_collection()):
        card = value._repr_html_()
        checker = Checker()
        checker.feed(card)
        assert checker.open == []
        assert checker.tags <= {"div", "strong", "br", "ul", "li", "small", "code"}
        assert not re.search(r"https?:|url\(|<script", card)
        assert "\x1b" not in card + str(value)
    assert "✕ REFUTED" in collection._repr_html_()


def test_no_word_makes_more_of_a_verdict_than_it_is(collection: AuditCollection) -> None:
    for text in (str(collection), collection._repr_html_(), repr(collection)):
        assert not re.search(r"\b(passed|passes|safe|certified|proven|proved|verified)\b", text, flags=re.IGNORECASE)


def test_a_redacted_result_shows_no_numbers(collection: AuditCollection) -> None:
    shown = str(redact(collection))
    assert "numbers withheld" in shown
    assert "deletion 1" in shown
    assert "757" not in shown


def test_names_stay_on_their_line() -> None:
    hostile = hostile_collection()
    assert HOSTILE in hostile.results[0].title
    assert len(str(hostile).splitlines()) == len(hostile.findings) + n_remarks(hostile) + 2 * len(hostile.results)
    assert "\n" not in repr(hostile.results[0])


def test_a_collection_has_findings_and_a_verdict(collection: AuditCollection) -> None:
    assert len(collection.findings) == 11
    assert collection.verdict is Verdict.REFUTED
    assert result("One", collection.results[0].findings).verdict is Verdict.NOT_REFUTED


def test_help_reads_like_documentation() -> None:
    text = pydoc.render_doc(audit, renderer=pydoc.plaintext)
    for word in ("run(mechanism: ", "Audit a mechanism's claims", "class AuditResult", "reports.write(result, folder)"):
        assert word in text
    shown = pydoc.render_doc(audit.AuditResult, renderer=pydoc.plaintext)
    for word in ("Parameters\n", "findings\n", "to_json", "assert_holds", "Return the result as JSON text"):
        assert word in shown


def test_showing_a_result_imports_no_report() -> None:
    code = (
        "import sys, audit; from audit import from_scores; from mechanisms.claim import Claim, EpsilonDelta; "
        "claim = Claim(guarantee=EpsilonDelta(epsilon=0.5, delta=0.0)); "
        "r = from_scores([[2 + i / 99] for i in range(99)], [[i / 99] for i in range(99)], claim=claim); "
        "print(r); r._repr_html_(); print(sorted({'reports', 'matplotlib', 'jinja2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "✕ REFUTED" in done.stdout
