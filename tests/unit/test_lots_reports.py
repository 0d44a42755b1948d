"""How audits by lot are told: in a terminal, HTML, Markdown, JUnit and JSON, redacted too; every format agrees."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner

import audit
import reports
from audit.cli import main
from audit.lots.result import LotsRun, with_verdict
from audit.lots.statistics.tails import log_half_tail
from audit.records.verdict import Verdict
from mechanisms.claim import Claim, EpsilonDelta, GaussianDP, OneRecord, UpTo
from reports.lots.words import chance
from reports.page import schemas
from tests.unit.page_checks import check_html, html_text, unescaped
from tests.unit.test_from_lots import BLIND, CLAIM, COINS, TELLING, named_runs, results, runs_of


def of_79() -> audit.LotsResult:
    """200 candidates, 100 guesses, 79 right."""
    made = audit.from_lots(TELLING, COINS, claim=CLAIM, title="Search", command="unlearn-audit lots check DIR S")
    run = LotsRun(inserted=100, guesses=100, right=79, log_counted=log_half_tail(79, 100))
    return with_verdict(replace(made, runs=(run,)))


def test_the_words() -> None:
    found = of_79()
    text = " ".join(reports.lots_summary(found, width=1000).split())
    assert (
        "200 candidates; a secret half was put into the training data and its deletion requested, the other half was "
        "never given (each by the toss of a coin). Of the 100 surest guesses 79 are right; a service that deletes lets "
        "that happen with probability 2.17e-9." in text
    )
    assert "REFUTED: ε > 16.9 at δ = 1e-5. Refuted is ε ≤ 1 at δ = 1e-5" in text
    assert "claimed for any set of up to 200 records" in text
    not_refuted = reports.lots_summary(audit.from_lots(BLIND, COINS, claim=CLAIM))
    assert "A lower bound is no proof that a claim is true." in " ".join(not_refuted.split())
    for made in results().values():
        words = reports.lots_summary(made).lower()
        assert "safe" not in words
        assert "passed" not in words


def test_chances_too_small_for_floats() -> None:
    assert chance(-20.0) == "2.07e-9"
    assert chance(-2302.6) == "9.86e-1001"
    assert chance(-2302.585092) == "1.01e-1000"
    assert chance(0.0) == "1"
    for log_p in np.linspace(-3000, -0.1, 50):
        mantissa, _, exponent = chance(float(log_p)).partition("e")
        assert np.log(float(mantissa)) + int(exponent or 0) * np.log(10) >= log_p - 1e-9


@pytest.mark.parametrize("name", results())
def test_every_format_says_the_verdict_and_the_same_sentences(name: str, tmp_path: Path) -> None:
    found = results()[name]
    written = reports.write_lots(found, tmp_path, ("html", "json", "md", "junit"))
    assert [path.name for path in written] == ["report.html", "report.json", "report.md", "report.xml"]
    texts = {path.suffix: path.read_text(encoding="utf-8") for path in written}
    check_html(texts[".html"])
    verdict = found.verdict.value.upper().replace("_", " ")
    assert verdict in html_text(texts[".html"])
    assert verdict in unescaped(texts[".md"])
    assert verdict in reports.lots_summary(found)
    schema = json.loads((schemas.FOLDER / "lots-1.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(json.loads(texts[".json"]))
    (case,) = ElementTree.fromstring(texts[".xml"]).iter("testcase")
    outcome = {Verdict.REFUTED: "failure", Verdict.INCONCLUSIVE: "skipped", Verdict.NOT_REFUTED: "system-out"}
    assert case[0].tag == outcome[found.verdict]
    for sentence in (found.conditions[0], "A service that recognises the candidates"):
        assert sentence in unescaped(html_text(texts[".html"]))
        assert sentence in unescaped(texts[".md"])


def test_hostile_names_are_data(tmp_path: Path) -> None:
    nasty = "<script>alert(1)</script>\x1b[31m|`x`"
    found = replace(of_79(), title=nasty, command=f"echo {nasty}", mechanism=nasty)
    reports.write_lots(found, tmp_path, ("html", "md", "junit"))
    check_html((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "\x1b" not in reports.lots_summary(found)
    ElementTree.fromstring((tmp_path / "report.xml").read_text(encoding="utf-8"))


def test_redaction_withholds_names_and_claims_of_records() -> None:
    found = of_79()
    hidden = reports.redact_lots(found)
    assert (hidden.title, hidden.command, hidden.redacted) == ("Deletions by lot", None, True)
    assert (hidden.verdict, hidden.lower_bound, hidden.claims) == (found.verdict, found.lower_bound, found.claims)
    assert audit.LotsResult.from_json(hidden.to_json()) == hidden
    assert reports.redact_lots(hidden) is hidden
    claims = [Claim(guarantee=EpsilonDelta(epsilon=e, delta=0.0), covers=OneRecord()) for e in np.linspace(0.1, 1, 20)]
    own = reports.redact_lots(audit.which_record(*named_runs(64, 40), claim=claims))
    assert len(own.claims) == 1
    assert own.verdict is Verdict.REFUTED
    assert "0.1" not in own.to_json().split('"runs"')[0]
    assert audit.LotsResult.from_json(own.to_json()) == own
    computed = replace(found, claims=(replace(CLAIM, provenance="exact"),))
    assert reports.redact_lots(computed).claim.guarantee == EpsilonDelta(epsilon=float("inf"), delta=1e-5)


def test_stored_results_render_again(tmp_path: Path) -> None:
    path, out = tmp_path / "one.json", tmp_path / "out"
    path.write_text(of_79().to_json(), encoding="utf-8")
    done = CliRunner().invoke(main, ["report", str(path), "--out", str(out), "--junit", str(tmp_path / "j.xml")])
    assert done.exit_code == 0, done.output
    assert "Search" in (out / "report.html").read_text(encoding="utf-8")
    assert (tmp_path / "j.xml").exists()
    hidden = CliRunner().invoke(main, ["report", str(path), "--out", str(out), "--redact"])
    assert hidden.exit_code == 0, hidden.output
    assert "Search" not in (out / "report.html").read_text(encoding="utf-8")
    from audit.cli import guarded

    assert guarded(["report", str(path), str(path), "--out", str(out)]) == 2
    path.write_text(of_79().to_json().replace('"right": 79', '"right": 78'), encoding="utf-8")
    assert guarded(["report", str(path), "--out", str(out)]) == 2


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: audit.from_lots(*runs_of(6, 1.2), claim=CLAIM), "6 trained models, each with coins of its own."),
        (
            lambda: audit.which_record(
                *named_runs(30, 12), claim=Claim(guarantee=GaussianDP(mu=0.1), covers=OneRecord())
            ),
            "In 12 of 30 models it was named; a service that deletes lets that happen with probability 0.05 each.",
        ),
        (lambda: audit.follow_stream(TELLING, COINS, claim=CLAIM), "1 release of one service"),
        (lambda: audit.from_lots(TELLING, COINS, claim=CLAIM, statistic="both"), "which doubles the smaller"),
        (lambda: audit.from_lots([1.0, 2.0], [0, 0], claim=replace(CLAIM, covers=UpTo(k=2))), "No candidate was drawn"),
    ],
)
def test_other_kinds_in_words(made: Any, words: str) -> None:
    assert words in " ".join(reports.lots_summary(made()).split())
