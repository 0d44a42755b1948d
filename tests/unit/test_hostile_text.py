"""Names, paths and messages of strangers: a terminal obeys none of them, and Markdown makes no links of them."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

import audit
import reports
from audit.certificates.certification import Certification
from audit.certificates.shares import CertificationShares
from audit.certificates.stream_rows import StreamCertification
from audit.cli import guarded
from audit.power.forecasts import Forecast
from audit.records.result import AuditCollection, read_json
from audit.regression.comparison import Comparison
from audit.running.shared_noise import SameRandomness
from audit.selftest.result import SelftestResult
from audit.selftest.wild.result import WildResult
from mechanisms.errors import LONGEST_SHOWN, InvalidInputError, printable
from reports.audits import markdown, terminal
from reports.certificates.shares import shares_summary
from reports.certificates.streams import stream_summary
from reports.certificates.writing import certification_summary
from reports.comparisons.summary import comparison_markdown, comparison_summary
from reports.forecasts.summary import forecast_summary
from reports.page.markdown import escape
from reports.randomness.summary import randomness_summary
from reports.selftests.summary import selftest_markdown, selftest_summary
from reports.wild.writing import wild_summary

pytestmark = pytest.mark.pictures

STORED = Path(__file__).parents[1] / "golden" / "stored"
# Clear the screen, set the title, an 8-bit control sequence, text that runs backwards, a bell, a return to the start.
ESCAPES = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202e\rok"
LINKS = ("https://evil.example/x", "http://e.example", "WWW.evil.example", "@everyone", "a@b.example", "#12", "GH-7")


def controls(text: str) -> set[str]:
    return {c for c in text if not c.isprintable() and c not in "\n\N{NO-BREAK SPACE}\t"}


def poisoned(value: Any, key: str = "") -> Any:
    """Return JSON with every free text made hostile."""
    free = {"title", "introduction", "label", "message", "mechanism", "sampler", "name", "command", "attack", "sha256"}
    free |= {"assumptions", "labels", "attacks", "claims", "text", "word", "caption", "detail", "platform", "python"}
    if isinstance(value, dict):
        if key in ("failures", "libraries"):
            return {f"{name}{ESCAPES}": f"{item}{ESCAPES}" for name, item in value.items()}
        # A control has one of some names, and so has a variant of a published mechanism.
        fixed = {"name"} if {"as_expected", "settings"} & value.keys() else set()
        return {name: item if name in fixed else poisoned(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [poisoned(item, key) for item in value]
    return f"{value}{ESCAPES}" if isinstance(value, str) and key in free else value


@pytest.mark.parametrize("path", sorted(STORED.glob("*.json")), ids=lambda path: path.stem)
def test_no_summary_sends_commands_to_a_terminal(path: Path) -> None:
    text = json.dumps(poisoned(json.loads(path.read_text("utf-8"))))
    match json.loads(text)["schema"].split("/")[1]:
        case "result" | "collection":
            value = read_json(text)
            results = value.results if isinstance(value, AuditCollection) else (value,)
            said = [
                terminal.summary(value),
                str(value),
                repr(value),
                markdown.render(value),
                *(result.describe() for result in results),
            ]
        case "certification":
            said = [certification_summary(Certification.from_json(text))]
        case "comparison":
            comparison = Comparison.from_json(text)
            said = [comparison_summary(comparison), comparison_markdown(comparison)]
        case "forecast":
            said = [forecast_summary(Forecast.from_json(text))]
        case "randomness":
            found = SameRandomness.from_json(text)
            said = [randomness_summary(found), str(found), repr(found)]
        case "lots":
            by_lot = audit.LotsResult.from_json(text)
            said = [reports.lots_summary(by_lot), repr(by_lot)]
        case "manifest" | "origin" | "following":
            # No summary: commands print lines of them, each made plain.
            return
        case "measure":
            measured = audit.MeasureResult.from_json(text)
            said = [reports.measures_summary(measured), str(measured), repr(measured)]
        case "stream":
            said = [stream_summary(StreamCertification.from_json(text))]
        case "shares":
            said = [shares_summary(CertificationShares.from_json(text))]
        case "wild":
            said = [wild_summary(WildResult.from_json(text), ())]
        case "models":
            of_models = audit.ModelsResult.from_json(text)
            said = [reports.models_summary(of_models), repr(of_models)]
        case _:
            result = SelftestResult.from_json(text)
            said = [selftest_summary(result), selftest_markdown(result)]
    assert [controls(each) for each in said] == [set()] * len(said)


def test_errors_spell_out_what_a_terminal_would_obey(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(f'schema = "{json.dumps(ESCAPES)[1:-1]}"\n"x{json.dumps(ESCAPES)[1:-1]}" = 1\n', encoding="utf-8")
    scores = tmp_path / "s.csv"
    scores.write_text(f"1.5\n2{ESCAPES[:4]}\n", encoding="utf-8")
    stored = tmp_path / "r.json"
    stored.write_text(json.dumps({"schema": "unlearn-audit/result/1", ESCAPES: 1}), encoding="utf-8")
    strange = str(tmp_path / f"no{ESCAPES}.toml")
    for arguments in (
        ["run", str(plan)],
        ["run", strange],
        ["scores", str(scores), str(scores), "--epsilon", "1"],
        ["report", str(stored)],
        ["compare", strange, strange],
        ["run", str(plan), "--mechanism", f"x{ESCAPES}"],
        ["run", str(plan), f"--{ESCAPES}"],
        ["scores", strange, strange, "--epsilon", "1"],
    ):
        assert guarded(arguments) == 2
        caught = capsys.readouterr()
        assert caught.err
        assert controls(caught.out + caught.err) == set()


def test_an_error_quotes_both_ends_of_a_long_value_and_survives_any() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError("no words")

    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for got in ("x" * 10**6, 10**5000, Broken(), deep, ESCAPES):
        text = str(InvalidInputError(field="f", expected="a number", got=got, fix="mend it"))
        assert len(text) < LONGEST_SHOWN + 200
        assert text.endswith("; mend it.")
        assert controls(text) == set()
    assert printable("a\x1bb\nc\u202e") == "a\\x1bb\nc\\u202e"


@pytest.mark.parametrize("name", LINKS)
def test_markdown_makes_no_link_of_a_name(name: str) -> None:
    """GitHub links and notifies by what the rendered text looks like, so a backslash before it does not help."""
    text = f"see {name} now"
    page = MarkdownIt("commonmark").enable("table").render(f"| a |\n| --- |\n| {escape(text)} |\n")
    shown = unescape(re.sub(r"<[^>]*>", "", page))
    looks_linked = re.compile(r"\w@\w|(?<!\w)@\w|https?://|www\.|#\d|GH-\d", re.IGNORECASE)
    assert looks_linked.search(text)
    assert not looks_linked.search(shown)

    assert text in shown.replace("\u200b", "")
