"""Every figure as data: complete, readable, linked, and harmless in a spreadsheet."""

from __future__ import annotations

import csv
import dataclasses
import io
import re
from pathlib import Path

import numpy as np
import pytest

import reports
from audit.records.evidence import Finding
from audit.records.figures.histograms import N_BINS, histogram_of
from audit.records.figures.history import BoundCurve, History
from audit.records.result import AuditCollection, AuditResult
from audit.records.verdict import Verdict
from mechanisms.claim import Direction
from reports.audits import distributions, html, markdown
from reports.audits.pictures.figure_data import FOLDER, HEADS, as_csv, figure_data
from reports.audits.view import page
from tests.conftest import without_pictures
from tests.unit.page_checks import check_html
from tests.unit.report_cases import finding, hostile_collection, make_collection, profile_claim, result

LINKED = re.compile(r'href="(report-data/[a-z]+\.csv)"')


def with_history(made: Finding) -> Finding:
    curve = BoundCurve(
        role="claim_row",
        attack="lda",
        delta=0.01,
        direction=Direction.UNLEARNED_FROM_RETRAINED,
        claimed=0.3,
        bounds=(0.0, 0.1, 0.4),
    )
    history = History(
        n_fit=100,
        budget=900,
        pairs=(10, 20, 40),
        p_values=(1.0, 0.2, 0.01),
        level=0.05,
        refits=(),
        refuted_at=40,
        curves=(curve,),
    )
    return dataclasses.replace(made, history=history)


def alone() -> AuditResult:
    return result("One", (with_history(make_collection().results[1].findings[0]),))


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_numbers_are_those_of_the_result_in_full(collection: AuditCollection) -> None:
    data = figure_data(collection)
    findings = [f for r in collection.results for f in r.findings]
    stored = [(s.bound.value, s.claimed, s.ceiling) for f in findings for s in f.sandwiches]
    read = rows(data[f"{FOLDER}/epsilon.csv"])
    assert [tuple(float(row[k]) for k in ("lower_bound", "claimed", "ceiling")) for row in read] == stored
    assert len(rows(data[f"{FOLDER}/rates.csv"])) == sum(
        sum(len(roc.thresholds) for roc in f.roc) + len(f.tests) for f in findings
    )
    assert len(rows(data[f"{FOLDER}/histograms.csv"])) == sum(N_BINS * len(f.histograms) for f in findings)
    anchors = {row["finding"] for text in data.values() for row in rows(text)}
    assert anchors <= {f.anchor for audit in page(collection).audits for f in audit.findings}


def test_the_drawn_band_is_what_the_claim_allows() -> None:
    made = alone()
    drawn = [r for r in rows(figure_data(made)[f"{FOLDER}/bands.csv"]) if r["law"] == "claim"]
    way = Direction.UNLEARNED_FROM_RETRAINED
    for row in drawn:
        x, high = float(row["rate_horizontal"]), float(row["highest_rate"])
        assert high == pytest.approx(float(made.findings[0].claim.max_tpr(np.array([x]), way)[0]))
        assert float(row["lowest_rate"]) <= x * (1 + 1e-12)
    assert {row["figure"] for row in drawn} == {"trade_off", "rare_events"}


def test_the_history_is_written_look_by_look() -> None:
    read = rows(figure_data(alone())[f"{FOLDER}/history.csv"])
    assert [(row["pairs"], row["lower_bound"]) for row in read] == [("10", "0.0"), ("20", "0.1"), ("40", "0.4")]


@pytest.mark.pictures
def test_pages_link_to_the_data_of_every_figure(tmp_path: Path) -> None:
    written = reports.write(alone(), tmp_path)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert set(LINKED.findall(text)) == {f"{FOLDER}/{name}" for name in HEADS}
    markdown_text = (tmp_path / "report.md").read_text(encoding="utf-8")
    for name in HEADS:
        assert f"({FOLDER}/{name})" in markdown_text
        assert tmp_path / FOLDER / name in written
    assert len(LINKED.findall(text)) == text.count('role="img"') + 2  # both pictures of rates name two files
    with without_pictures():
        check_html(html.render(alone()))
        reports.write(alone(), tmp_path / "bare", formats=("html", "md"))
    for path in (tmp_path / "bare").iterdir():
        assert FOLDER not in path.read_text(encoding="utf-8")


@pytest.mark.slow
def test_old_data_go_with_the_report_that_they_belong_to(tmp_path: Path) -> None:
    reports.write(alone(), tmp_path)
    reports.write(alone(), tmp_path, formats=("junit",))
    assert (tmp_path / FOLDER / "history.csv").exists()
    reports.write(make_collection().results[1], tmp_path)
    assert not (tmp_path / FOLDER / "history.csv").exists()


def test_names_cannot_become_formulas() -> None:
    text = as_csv(("name", "value"), [("=1+1", -0.5), ("@x", 1), ("a\nb\x1b", 2), (None, 3)])
    assert [row["name"] for row in rows(text)] == ["'=1+1", "'@x", "a b\N{REPLACEMENT CHARACTER}", ""]
    assert rows(text)[0]["value"] == "-0.5"
    for text in figure_data(hostile_collection()).values():
        assert "\x1b" not in text


# Scores


def test_histograms_count_every_score_once() -> None:
    rng = np.random.default_rng(3)
    for first, second in (
        (rng.normal(1, 1, 500), rng.normal(0, 1, 300)),
        (rng.standard_cauchy(500), rng.standard_cauchy(300)),
        (np.zeros(50), np.zeros(20)),
        (np.array([7.0]), np.array([])),
        (np.array([1e16, 1e16 + 2]), np.array([1e16])),
        (np.array([-1e308, 1e308]), np.array([0.0])),
    ):
        made = histogram_of("a", first, second)
        assert len(made.edges) == N_BINS + 1
        assert (np.diff(made.edges) >= 0).all()
        assert (sum(made.unlearned), sum(made.retrained)) == (len(first), len(second))


def test_histograms_are_plain_counts_where_scores_lie_inside() -> None:
    scores = np.linspace(0, 1, 10_001)
    made = histogram_of("a", scores, scores[:5])
    inside, _ = np.histogram(scores, bins=made.edges)
    assert made.unlearned[1:-1] == tuple(inside[1:-1])
    assert made.retrained[0] == 5


def test_a_far_outlier_does_not_flatten_the_picture() -> None:
    rng = np.random.default_rng(4)
    made = histogram_of("a", np.append(rng.normal(0, 1, 5000), 1e9), rng.normal(0, 1, 5000))
    assert made.edges[-1] < 5
    assert made.unlearned[-1] >= 1


@pytest.mark.pictures
def test_the_report_names_what_fired_and_draws_it(collection: AuditCollection) -> None:
    refuted, kept = collection.results[1].findings
    assert distributions.fired(refuted) == "Fired: likelihood_ratio, target_loss, influence and lda (chose krylov_lda)."
    assert distributions.fired(kept).startswith("No attack fired. The strongest evidence is that of ")
    part = page(collection.results[1]).audits[0].findings[0].details
    assert part is not None
    assert part.histograms is not None
    assert part.histograms.table.title == "Scores of likelihood_ratio"
    assert len(part.histograms.table.rows) == N_BINS
    drawn = distributions.picture(refuted, "p")
    for name in ("likelihood_ratio", "target_loss", "influence", "lda", "unlearned", "retrained", "threshold"):
        assert f">{name}<" in drawn
    assert "stroke-dasharray" in drawn


@pytest.mark.pictures
def test_results_without_histograms_are_reported_as_before(tmp_path: Path) -> None:
    made = finding(profile_claim(0.14), 5, "", shown=0.1, true=None, verdict=Verdict.NOT_REFUTED, histograms=())
    old = result("Old", (made,))
    assert distributions.picture(made, "p") == ""
    details = page(old).audits[0].findings[0].details
    assert details is not None
    assert details.histograms is None
    with without_pictures():
        assert "Scores in both worlds" not in html.render(old) + markdown.render(old)
        reports.write(old, tmp_path)
    assert not (tmp_path / FOLDER / "histograms.csv").exists()
