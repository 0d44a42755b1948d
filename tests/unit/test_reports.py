"""Reports: one closed file, and HTML, Markdown, pictures and JSON tell the same story."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import reports
from audit.records.result import AuditCollection, AuditResult, read_json
from audit.records.verdict import Verdict
from mechanisms.errors import InvalidInputError
from reports.audits import html, markdown, terminal
from reports.audits.pictures import figures
from reports.audits.view import page
from reports.page import drawing
from reports.page.numbers import as_float, nearest
from tests.conftest import without_pictures
from tests.unit.page_checks import (
    check_html,
    html_tables,
    markdown_tables,
)
from tests.unit.report_cases import (
    HOSTILE,
    N,
    finding,
    hostile_collection,
    point_claim,
    result,
    roc,
)


def first_of_each(collection: AuditCollection) -> AuditCollection:
    """One finding of each result: every table and every kind of picture."""
    return dataclasses.replace(
        collection, results=tuple(dataclasses.replace(r, findings=r.findings[:1]) for r in collection.results)
    )


@pytest.fixture(scope="module")
def document(collection: AuditCollection) -> str:
    """The whole page without its pictures, which change neither its tables nor their names."""
    with without_pictures():
        return html.render(collection)


@pytest.mark.pictures
def test_html_is_one_closed_file(collection: AuditCollection) -> None:
    good, lost, own = collection.results
    few = (
        dataclasses.replace(good, findings=good.findings[3:]),
        dataclasses.replace(lost, findings=lost.findings[:1]),
        # Epsilons that are infinite, and a finding of which there is one thing to draw.
        dataclasses.replace(own, findings=(own.findings[1], own.findings[3])),
    )
    document = html.render(dataclasses.replace(collection, results=few))
    checker = check_html(document)
    policy = [value for tag, name, value in checker.attributes if tag == "meta" and name == "content"]
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in policy
    assert document.index("Content-Security-Policy") < document.index("<style>")
    without_images = re.sub(r"base64,[A-Za-z0-9+/=]+", "", document)
    assert not re.search(r"(https?:|//[a-z]|@import|javascript:)", without_images)
    images = [value for tag, name, value in checker.attributes if tag == "img" and name == "alt"]
    assert "Deleted record 757, target 7: an image of 8 by 8 pixels" in images
    drawings = [value for tag, name, value in checker.attributes if tag == "svg" and name == "aria-label"]
    assert all(drawings)
    assert len(drawings) == 5 * 3 + 1


@pytest.mark.pictures
def test_hostile_names_stay_text_everywhere() -> None:
    hostile = first_of_each(hostile_collection())
    assert HOSTILE in hostile.results[0].findings[0].label
    with without_pictures():
        undrawn = html.render(hostile)
    drawn = html.render(hostile.results[0])
    assert drawn.count("<svg") == 5
    for document in (undrawn, drawn):
        check_html(document)
        assert "<script" not in document
        assert "\x1b" not in document
        assert document.count("&lt;script&gt;") > 100
    text = markdown.render(hostile)
    outside_code = re.sub(r"(`{3,})sh\n.*?\n\1\n", "", text, flags=re.DOTALL)
    assert "<script" not in outside_code
    assert not re.search(r"(?<!\\)\]\(", outside_code)
    assert not re.search(r"^# x", outside_code, flags=re.MULTILINE)
    assert "\x1b" not in text
    for table in markdown_tables(outside_code):
        assert len({len(row) for row in table}) == 1
    assert "\x1b" not in terminal.summary(hostile)


@pytest.mark.parametrize("alone", [False, True])
def test_html_and_markdown_hold_the_same_tables(collection: AuditCollection, document: str, alone: bool) -> None:
    value = collection.results[1] if alone else collection
    from_html = [tuple(map(tuple, t)) for t in html_tables(html.render(value) if alone else document)]
    from_markdown = [tuple(map(tuple, t if any(t[0]) else t[1:])) for t in markdown_tables(markdown.render(value))]
    assert len(from_html) > 5
    assert sorted(from_html) == sorted(from_markdown)


def test_printed_numbers_are_those_of_the_json_rounded_outward(
    collection: AuditCollection, document: str, tmp_path: Path
) -> None:
    reports.write(collection, tmp_path, formats=("json", "md"))
    loaded = json.loads((tmp_path / "report.json").read_text())
    stored = [f for r in loaded["results"] for f in r["findings"] if f["sandwiches"]]
    for tables in (html_tables(document), list(markdown_tables((tmp_path / "report.md").read_text()))):
        shown = [table for table in tables if table[0][0] == "at"]
        assert len(shown) == len(stored) == 10
        for table, f in zip(shown, stored, strict=True):
            # The row where the claim was made comes first.
            at = {nearest(float(sandwich["bound"]["delta"])): sandwich for sandwich in f["sandwiches"]}
            assert len(table[1:]) == len(at) == len(f["sandwiches"])
            for row in table[1:]:
                sandwich = at[row[0].removeprefix("δ = ").split(",")[0]]
                assert as_float(row[1]) <= float(sandwich["bound"]["value"])
                stored_values = [sandwich[k] for k in ("exact", "claimed", "detectable_epsilon", "ceiling")]
                pairs = zip(row[2:7], [*stored_values, sandwich["bound"]["level"]], strict=True)
                for text, value in pairs:
                    if value is None:
                        assert text == "–"
                    else:
                        number = float(str(value).replace("Infinity", "inf"))
                        assert number <= as_float(text) <= number * 1.01


def test_tests_table_shows_counts_and_ledger_adds_up(collection: AuditCollection) -> None:
    first = collection.results[1]
    view = page(first).audits[0]
    details = view.findings[0].details
    assert details is not None
    assert len(details.tests.rows) == len(first.findings[0].tests)
    best = min(first.findings[0].tests, key=lambda t: t.p_value).bound.counts
    assert details.tests.rows[0][4:6] == (f"{best.k_unlearned:,} / {N:,}", f"{best.k_retrained:,} / {N:,}")
    assert details.tests_summary == "8 tests, 8 rejected"
    assert len(view.ledger.rows) == 2
    assert "16 tests, corrected after Bonferroni" in view.ledger.caption
    assert sum(int(row[4]) for row in view.ledger.rows) == 16


@pytest.mark.pictures
def test_pages_are_byte_stable_and_rendered_from_the_json_alone(collection: AuditCollection) -> None:
    import matplotlib

    again = read_json(collection.to_json())
    assert not isinstance(again, AuditResult)
    with matplotlib.rc_context({"font.size": 30, "svg.fonttype": "path", "axes.grid": True}):
        drawn = html.render(first_of_each(again).results[1])
    assert drawn == html.render(first_of_each(collection).results[1])
    assert drawn.count("<svg") == 5
    with without_pictures():
        assert html.render(again) == html.render(collection)
    assert markdown.render(again) == markdown.render(collection)
    assert terminal.summary(again) == terminal.summary(collection)


@pytest.mark.pictures
def test_pictures_are_well_formed_and_carry_the_printed_numbers(collection: AuditCollection) -> None:
    from xml.etree import ElementTree

    refuted = collection.results[1].findings[0]
    part = page(collection.results[1]).audits[0].findings[0].details
    assert part is not None
    drawn = {
        "sandwich": figures.sandwich(part.sandwiches, "p"),
        "trade_off": figures.trade_off(refuted, "p"),
        "rare": figures.rare_events(refuted, "p"),
        "near": figures.trade_off(collection.results[0].findings[0], "p"),
    }
    texts = {name: [e.text for e in ElementTree.fromstring(svg).iter("text")] for name, svg in drawn.items()}
    for view in part.sandwiches:
        for number in (view.bound, view.claimed, view.detectable, view.ceiling):
            assert number.text in texts["sandwich"]
    assert "claim allows" in texts["trade_off"]
    assert {"likelihood_ratio", "target_loss", "influence", "lda"} <= set(texts["rare"])
    assert "difference of rates, unlearned − retrained" in texts["near"]
    assert not [svg for svg in drawn.values() if re.search("<metadata|xmlns|<style", svg)]
    assert figures.sandwich((), "p") == ""
    assert figures.trade_off(dataclasses.replace(refuted, roc=()), "p") == ""


@pytest.mark.pictures
def test_the_exact_law_is_drawn_when_it_is_not_the_claim(collection: AuditCollection) -> None:
    published, exact = collection.results[0].findings[3], collection.results[0].findings[0]
    assert "exact law allows" in figures.trade_off(published, "p")
    assert "exact law allows" not in figures.trade_off(exact, "p")


@pytest.mark.pictures
def test_attacks_beyond_four_are_counted_not_drawn(collection: AuditCollection) -> None:
    made = collection.results[1].findings[0]
    crowded = dataclasses.replace(made, roc=tuple(roc(f"attack_{i}", 0.5) for i in range(6)))
    part = page(result("One", (crowded,))).audits[0].findings[0].details
    assert part is not None
    assert "The points of 2 more attacks are in report.json." in part.trade_off_caption
    assert "attack_5" not in figures.trade_off(crowded, "p")


def test_the_deleted_image_is_drawn_pixel_by_pixel() -> None:
    import base64
    import io

    from PIL import Image

    values = (0.0, 0.25, 0.5, 1.0, 2.0, -1.0)
    data = drawing.image(values, (2, 3))
    picture = Image.open(io.BytesIO(base64.b64decode(data.removeprefix("data:image/png;base64,"))))
    assert np.asarray(picture).tolist() == [[255, 191, 128], [0, 0, 255]]


def test_write_makes_the_named_files(collection: AuditCollection, tmp_path: Path) -> None:
    paths = reports.write(collection.results, tmp_path / "new", formats=("md", "json"), show_records=True)
    assert [path.name for path in paths] == ["report.md", "report.json"]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["report.json", "report.md"]
    loaded = read_json(paths[1].read_text(encoding="utf-8"))
    assert isinstance(loaded, AuditCollection)
    assert loaded.results == collection.results
    (mixed,) = reports.write([collection, collection.results[0]], tmp_path, formats=("json",), show_records=True)
    joined = read_json(mixed.read_text(encoding="utf-8"))
    assert isinstance(joined, AuditCollection)
    assert (joined.title, joined.tables) == ("4 audits", collection.tables)
    assert joined.results == (*collection.results, collection.results[0])
    one = reports.write(collection.results[0], tmp_path, formats=("json",), show_records=True)
    assert read_json(one[0].read_text(encoding="utf-8")) == collection.results[0]


def test_write_refuses_what_it_cannot_do(collection: AuditCollection, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="formats"):
        reports.write(collection, tmp_path, formats=("pdf",))
    with pytest.raises(InvalidInputError, match="at least one result"):
        reports.write((), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_terminal_summary_names_what_could_have_been_seen(texts: dict[str, str]) -> None:
    assert re.search(r"Record 757 \(hardest\).*✕ REFUTED *\n +counted at .*1\.31.*0\.259", texts["terminal"])
    assert "probability 0.8" in texts["terminal"]


def test_a_row_of_the_terminal_is_one_line_however_many_digits_its_numbers_have() -> None:
    """Which row of a claim has most power depends on a computer's last digits; whether lines break must not."""
    found = finding(point_claim(0.4257, 1.234e-10), 1463, "hardest", shown=0.1, true=None, verdict=Verdict.NOT_REFUTED)
    row = next(sandwich for sandwich in found.sandwiches if sandwich.role == "claim_row")
    bound = dataclasses.replace(row.bound, value=0.04567, delta=1.234e-10)
    longest = dataclasses.replace(
        row, bound=bound, claimed=0.04257, exact=0.04257, ceiling=12.34, detectable_epsilon=0.4567
    )
    shown = terminal.summary(result("Digits", (dataclasses.replace(found, sandwiches=(longest,)),)))
    assert re.search(
        r"^ Record 1463 \(hardest\)   ε ≤ 0\.0426, δ = 1\.234e-10 +0\.0456 +0\.0426 +0\.457 .* NOT REFUTED, weak$",
        shown,
        re.MULTILINE,
    ), shown


def test_importing_reports_is_light() -> None:
    code = "import reports, sys; print(sorted({'matplotlib', 'jinja2', 'rich', 'numpy'} & set(sys.modules)))"
    root = Path(reports.__file__).parents[1]
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert shown.stdout.strip() == "[]"


def test_every_table_that_scrolls_has_a_name_of_its_own(collection: AuditCollection) -> None:
    alike = dataclasses.replace(collection, results=(collection.results[1],) * 2)
    for value in (collection, collection.results[0], alike):
        names = re.findall(r'role="region" aria-label="([^"]*)"', html.render(value))
        assert len(names) > 10
        assert sorted(set(names)) == sorted(names)
