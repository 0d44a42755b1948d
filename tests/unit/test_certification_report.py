"""The page of certificates: its numbers agree in every format, are rounded outward, and hold for odd inputs too."""

from __future__ import annotations

import csv
import json
import math
import re
import time
from dataclasses import fields, replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audit.certificates.certification import Certification, RecordRow, RouteRow
from audit.records.evidence import Preview
from audit.records.ledger import DataRecord, Environment
from mechanisms.errors import InvalidInputError
from reports.certificates.view import page
from reports.certificates.writing import certification_summary, write_certification
from reports.page.numbers import as_float, up

# What is drawn of odd numbers and names is looked at too.
pytestmark = pytest.mark.pictures

HOSTILE = '<script>alert("x")</script>&|`$_$`[a](javascript:b)\x1b\n# x'
BREAKING = str.maketrans({"\N{NO-BREAK SPACE}": " ", "\N{NON-BREAKING HYPHEN}": "-"})
FACTORS = {"exact": 1.0, "repaired": 3.6, "published": 4.93, "uniform": 20.4}
TARGET = 0.5


def digit(record: int) -> Preview:
    rng = np.random.default_rng(record)
    grid = np.zeros((8, 8))
    grid[1:7, 2:6] = rng.integers(0, 17, (6, 4)) / 16
    return Preview(record=record, target=str(record % 10), image_shape=(8, 8), values=tuple(grid.ravel().tolist()))


def record_rows(n: int, *, target: float | None) -> tuple[RecordRow, ...]:
    rng = np.random.default_rng(11)
    difficulties = rng.lognormal(-1.2, 0.7, n)
    rows = []
    for record, difficulty in enumerate(difficulties.tolist()):
        without = 3.1 * difficulty * math.exp(0.2 * rng.standard_normal())
        if target is None:
            sigma, epsilon = 0.004, without / (1 + 0.4 * math.log1p(9 * difficulty))
        elif without <= target:
            sigma, epsilon = 0.0, without
        else:
            sigma, epsilon = 0.0031 * difficulty * (without - target) ** 0.4, target * (1 - 1e-8)
        rows.append(
            RecordRow(
                record=record,
                difficulty=difficulty,
                sigma_unlearn=sigma,
                epsilon_unlearned_from_retrained=epsilon,
                epsilon_retrained_from_unlearned=0.93 * epsilon,
                epsilon_without_unlearning=without,
            )
        )
    return tuple(rows)


def route_rows(rows: tuple[RecordRow, ...], *, target: float | None) -> tuple[RouteRow, ...]:
    ordered = sorted(rows, key=lambda row: -row.difficulty)
    places = np.linspace(0, len(ordered) - 1, min(4, len(ordered))).round().astype(int)
    labels = {0: "hardest", len(ordered) - 1: "easiest"}
    found = []
    for place in places.tolist():
        row = ordered[place]
        for route, factor in FACTORS.items():
            is_free = target is not None and row.sigma_unlearn == 0 and route == "exact"
            sigma = row.sigma_unlearn
            if target is not None:
                sigma = sigma if route == "exact" else factor * max(sigma, 0.0002)
            found.append(
                RouteRow(
                    record=row.record,
                    label=labels.get(place, ""),
                    route=route,
                    sigma_unlearn=sigma,
                    epsilon=factor * row.epsilon if target is None else min(row.epsilon, target) if is_free else target,
                    exact_epsilon=row.epsilon if target is None else row.epsilon / factor,
                    accuracy=0.882 - 0.01 * factor * row.difficulty,
                    note="The learning noise alone suffices." if is_free else "",
                )
            )
        found.append(
            RouteRow(
                record=row.record,
                label=labels.get(place, ""),
                route="downdate",
                sigma_unlearn=0.0,
                epsilon=0.0,
                exact_epsilon=0.0,
                accuracy=0.882,
                note="Exact deletion in closed form, without noise.",
            )
        )
    return tuple(found)


def make(n: int = 1500, *, target: float | None = TARGET, **changes: Any) -> Certification:
    rows = record_rows(n, target=target)
    routes = route_rows(rows, target=target)
    cost = [row.record for row in sorted(rows, key=lambda row: (row.sigma_unlearn, row.epsilon))]
    shown = dict.fromkeys([*(row.record for row in routes), *cost[:10], *cost[-10:]])
    made = Certification(
        title="Certificates of ridge_langevin on digits",
        mechanism="ridge_langevin",
        parameters={
            "penalty": 1.0,
            "step_size": 0.000207,
            "n_learn": 300,
            "n_unlearn": 100,
            "sigma_learn": 0.001,
            "sigma_unlearn": 0.004 if target is None else "calibrated per record (exact)",
            "reference": "retrain_then_unlearn",
        },
        data=DataRecord(
            name="digits", sha256="5e" * 32, n_records=n, n_features=65, n_targets=10, kind="classification"
        ),
        delta=1e-5,
        target_epsilon=target,
        rows=rows,
        routes=routes,
        previews=tuple(digit(record) for record in shown),
        assumptions={
            "exact": ("The noise is Gaussian and independent across steps.", "The last iterate alone is released."),
            "repaired": ("The learning chain is compared with one whose deleted gradients are clipped",),
            "published": (
                "Proof gap: the accounting conditions on an event that depends on the noise it then uses.",
                "The last iterate alone is released.",
            ),
            "uniform": ("One certificate for every forget set of this size, from these data.",),
        },
        environment=Environment(
            started="2026-02-03T04:05:06+00:00",
            seconds=41.25,
            python="3.11.9",
            platform="Linux",
            libraries={"numpy": "2.1.0", "scipy": "1.15.0"},
            n_jobs=2,
            command="unlearn-audit calibrate --data digits --epsilon 0.5 --delta 1e-5 --records all",
        ),
    )
    return replace(made, **changes)


class Checker(HTMLParser):
    """Collects tags, attributes and tables, and whether elements nest."""

    VOID = frozenset({"meta", "img", "br", "link", "input", "hr"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str]] = []
        self.tables: list[list[list[str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data.translate(BREAKING)


def checked(document: str) -> Checker:
    checker = Checker()
    checker.feed(document)
    checker.close()
    assert checker.open == []
    assert not checker.tags & {"script", "iframe", "object", "embed", "link", "base", "form"}
    ids = [value for _, name, value in checker.attributes if name == "id"]
    assert len(set(ids)) == len(ids)
    for tag, name, value in checker.attributes:
        assert not name.startswith("on"), (tag, name)
        if name in ("src", "href", "xlink:href"):
            beside = tag == "a" and value in ("certificates.csv", "routes.csv")
            assert beside or value.startswith("data:image/png;base64,") or (value[:1] == "#" and value[1:] in ids)
        if name == "style":
            assert not re.search(r"url\((?!#)", value)
    without_images = re.sub(r"base64,[A-Za-z0-9+/=\s]+", "", document)
    assert not re.search(r"(https?:|//[a-z]|@import)", without_images)
    return checker


def html_tables(document: str) -> list[list[list[str]]]:
    return [[[" ".join(cell.split()) for cell in row] for row in table] for table in checked(document).tables]


def markdown_tables(text: str) -> list[list[list[str]]]:
    tables = []
    for block in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        lines = [line for line in block.splitlines() if not re.fullmatch(r"[|\-: ]+", line)]
        cells = [[unescaped(c.strip()) for c in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
        tables.append(cells)
    return tables


def unescaped(text: str) -> str:
    return unescape(re.sub(r"\\([\\`*_{}\[\]|~$#])", r"\1", text)).translate(BREAKING)


def text_of(document: str) -> str:
    body = re.sub(r"<style>.*?</style>", " ", document, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).translate(BREAKING).split())


def written(certification: Certification, folder: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in write_certification(certification, folder)}


@pytest.fixture(scope="module")
def calibrated() -> Certification:
    return make()


@pytest.fixture(scope="module")
def files(calibrated: Certification, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return written(calibrated, tmp_path_factory.mktemp("certificates"))


def test_the_named_files_are_written_in_order(calibrated: Certification, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    paths = write_certification(calibrated, folder, formats=("csv", "html"))
    assert [path.name for path in paths] == ["certificates.csv", "routes.csv", "certificates.html"]
    without_routes = write_certification(replace(calibrated, routes=()), tmp_path, formats=("csv",))
    assert [path.name for path in without_routes] == ["certificates.csv"]


def test_what_cannot_be_written_is_refused_and_leaves_nothing(calibrated: Certification, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="pdf"):
        write_certification(calibrated, tmp_path / "a", formats=("html", "pdf"))
    with pytest.raises(InvalidInputError, match="at least one record"):
        write_certification(replace(calibrated, rows=()), tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_json_gives_the_certification_back(calibrated: Certification, files: dict[str, str]) -> None:
    assert Certification.from_json(files["certificates.json"]) == calibrated


@pytest.mark.parametrize("has_infinities", [False, True])
def test_csv_carries_every_number_in_full(has_infinities: bool, tmp_path: Path) -> None:
    made = endless() if has_infinities else make(40)
    files = written(made, tmp_path)
    read = list(csv.DictReader(files["certificates.csv"].splitlines()))
    names = [f.name for f in fields(RecordRow)]
    assert list(read[0]) == [*names, "epsilon"]
    assert [[float(line[name]) for name in [*names, "epsilon"]] for line in read] == [
        [*(float(getattr(row, name)) for name in names), row.epsilon] for row in made.rows
    ]
    routes = list(csv.DictReader(files["routes.csv"].splitlines()))
    assert [(line["route"], float(line["sigma_unlearn"]), line["note"]) for line in routes] == [
        (row.route, row.sigma_unlearn, row.note) for row in made.routes
    ]
    assert [float(line["accuracy"]) if line["accuracy"] else None for line in routes] == [
        row.accuracy for row in made.routes
    ]


def test_html_and_markdown_hold_the_same_tables_and_sentences(calibrated: Certification, files: dict[str, str]) -> None:
    from_html = [t if any(t[0]) else t[1:] for t in html_tables(files["certificates.html"])]
    from_markdown = [t if any(t[0]) else t[1:] for t in markdown_tables(files["certificates.md"])]
    assert len(from_html) == 7
    assert from_html == from_markdown
    view = page(calibrated)
    glossary = [text for passage in view.glossary for text in (passage.heading, passage.text)]
    said_in_markdown = unescaped(files["certificates.md"])
    for sentence in (view.headline, *view.points, view.warning, view.rounding, *glossary):
        assert sentence.translate(BREAKING) in text_of(files["certificates.html"])
        assert sentence.translate(BREAKING) in said_in_markdown


def test_listed_numbers_are_those_of_the_rows_rounded_up(calibrated: Certification, files: dict[str, str]) -> None:
    by_record = {row.record: row for row in calibrated.rows}
    tables = html_tables(files["certificates.html"])
    costliest, cheapest = tables[1][1:], tables[2][1:]
    for cells in costliest + cheapest:
        row = by_record[int(cells[0])]
        stored = (row.sigma_unlearn, row.epsilon, row.epsilon_without_unlearning)
        assert cells[1] == str(row.record % 10)
        for text, value in zip(cells[3:], stored, strict=True):
            assert text == up(value)
            assert value <= as_float(text) <= 1.01 * value
    noises = sorted((row.sigma_unlearn, row.epsilon) for row in calibrated.rows)
    assert [(by_record[int(c[0])].sigma_unlearn, by_record[int(c[0])].epsilon) for c in cheapest] == noises[:10]
    assert [by_record[int(c[0])].sigma_unlearn for c in costliest] == [s for s, _ in noises[:-11:-1]]
    for cells, route in zip(tables[3][1:], calibrated.routes, strict=True):
        assert int(cells[0].split()[0]) == route.record
        assert cells[2] == up(route.sigma_unlearn)
        assert as_float(cells[3]) >= route.epsilon
        assert as_float(cells[4]) >= route.exact_epsilon


def test_without_a_target_costliest_means_the_largest_epsilon() -> None:
    made = make(200, target=None)
    listed = [int(row[0]) for row in page(made).records[0].table.rows]
    assert listed == [row.record for row in sorted(made.rows, key=lambda row: -row.epsilon)[:10]]
    assert "σᵤ = 0.004" in page(made).points[0]
    assert "target" not in text_of("".join(page(made).points))


def test_quantiles_are_order_statistics_rounded_up(calibrated: Certification) -> None:
    table = page(calibrated).quantiles
    without = sorted(row.epsilon_without_unlearning for row in calibrated.rows)
    # 1,500 records: the 150th, 750th, 1350th and 1485th value.
    expected = [up(without[i]) for i in (0, 149, 749, 1349, 1484, 1499)]
    assert list(table.rows[1]) == ["ε without unlearning", *expected]


def test_the_page_first_says_how_many_need_no_noise(calibrated: Certification, files: dict[str, str]) -> None:
    n = sum(row.epsilon_without_unlearning <= TARGET for row in calibrated.rows)
    sentence = f"{n:,} of 1,500 records meet the target ε = 0.5 without any unlearning noise."
    text = text_of(files["certificates.html"])
    assert 0 < n < 1500
    assert text.index("1,500 records, each deleted alone") < text.index(sentence) < text.index("What the words mean")
    assert sentence in " ".join(certification_summary(calibrated).split())
    hardly = sum(row.epsilon >= 0.9 * row.epsilon_without_unlearning for row in calibrated.rows)
    assert f"For {hardly:,} of 1,500 records" in text


def test_the_page_warns_that_it_leaks_and_shows_the_proof_gap(files: dict[str, str]) -> None:
    text = text_of(files["certificates.html"])
    assert "publishing either leaks" in text
    assert text.index("publishing either leaks") < text.index("What the words mean")
    assert "Its proof conditions on an event" in text
    routes = html_tables(files["certificates.html"])[3]
    assert {row[1] for row in routes[1:]} == {"exact", "repaired", "published (proof gap)", "uniform", "downdate"}
    # Of the four records compared one needs no noise, so that no ratio is defined.
    compared = "over 3 records: repaired 3.6 times, published (proof gap) 4.93 times and uniform 20.4 times."
    assert f"Compared with the noise that exact asks for, {compared}" in text


def test_every_route_that_states_a_proof_gap_is_marked() -> None:
    made = make(50)
    stated = {**made.assumptions, "uniform": ("Uniform: one certificate.", "Proof gap: as published.")}
    view = page(replace(made, assumptions=stated))
    assert {row[1] for row in view.routes.table.rows if "gap" in row[1]} == {
        "published (proof gap)",
        "uniform (proof gap)",
    }
    assert [basis.route for basis in view.basis if basis.has_gap] == ["published (proof gap)", "uniform (proof gap)"]
    silent = page(replace(made, assumptions={}))
    assert {row[1] for row in silent.routes.table.rows if "gap" in row[1]} == {"published (proof gap)"}


def test_ratio_to_exact_is_of_noise_or_of_epsilon() -> None:
    column = [row[5] for row in page(make(50)).routes.table.rows[:5]]
    assert column == ["1", "3.6", "4.93", "20.4", "0"]
    by_epsilon = [row[5] for row in page(make(50, target=None)).routes.table.rows[:5]]
    assert by_epsilon == ["1", "3.6", "4.93", "20.4", "–"]


def test_a_bound_below_the_exact_epsilon_is_called_wrong() -> None:
    made = make(50)
    low = replace(made.routes[2], epsilon=0.5003, exact_epsilon=0.5006)
    view = page(replace(made, routes=(*made.routes[:2], low, *made.routes[3:])))
    assert view.route_notes == (f"Below the exact ε, hence wrong there: published for record {low.record}.",)
    shown = view.routes.table.rows[2]
    assert as_float(shown[3]) < as_float(shown[4])
    assert page(made).route_notes == ()


def test_the_page_is_one_closed_file(files: dict[str, str]) -> None:
    document = files["certificates.html"]
    checker = checked(document)
    policy = [value for tag, name, value in checker.attributes if tag == "meta" and name == "content"]
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in policy
    assert document.index("Content-Security-Policy") < document.index("<style>")
    alts = [value for tag, name, value in checker.attributes if tag == "img" and name == "alt"]
    assert len(alts) == 24
    assert all("an image of 8 by 8 pixels" in alt for alt in alts)
    drawings = [value for tag, name, value in checker.attributes if tag == "svg" and name == "aria-label"]
    assert len(drawings) == 2


def test_pages_are_byte_stable_and_rendered_from_the_json_alone(
    calibrated: Certification, files: dict[str, str], tmp_path: Path
) -> None:
    again = written(Certification.from_json(calibrated.to_json()), tmp_path)
    assert again == files


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    loaded = json.loads(make(30).to_json())

    def poison(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            if key in ("parameters", "libraries", "assumptions"):
                return {f"{k}{HOSTILE}": poison(v, "text") for k, v in value.items()}
            return {k: poison(v, k) for k, v in value.items()}
        if isinstance(value, list):
            return [poison(item, key) for item in value]
        return f"{value}{HOSTILE}" if isinstance(value, str) and key not in ("schema", "inf") else value

    hostile = Certification.from_json(json.dumps(poison(loaded)))
    assert HOSTILE in hostile.routes[0].route
    files = written(hostile, tmp_path)
    document, markdown = files["certificates.html"], files["certificates.md"]
    checked(document)
    assert document.count("&lt;script&gt;") > 60
    outside_code = re.sub(r"(`{3,})sh\n.*?\n\1\n", "", markdown, flags=re.DOTALL)
    assert "<script" not in document + outside_code
    assert "\x1b" not in document + markdown + certification_summary(hostile)
    assert not re.search(r"(?<!\\)\]\((?!(certificates|routes)\.csv\))", outside_code)
    assert not re.search(r"^# x", outside_code, flags=re.MULTILINE)
    routes = list(csv.DictReader(files["routes.csv"].splitlines(keepends=True)))
    assert [line["route"] for line in routes] == [row.route for row in hostile.routes]


def endless() -> Certification:
    """Thirty records, of which two have no finite epsilon and no noise that suffices."""
    made = make(30)
    changed = {
        "sigma_unlearn": math.inf,
        "epsilon_unlearned_from_retrained": math.inf,
        "epsilon_without_unlearning": math.inf,
        "difficulty": math.inf,
    }
    rows = (replace(made.rows[0], **changed), replace(made.rows[1], **changed), *made.rows[2:])
    first = made.routes[0].record
    routes = tuple(
        replace(row, sigma_unlearn=math.inf, epsilon=math.inf, accuracy=None) if row.record == first else row
        for row in made.routes
    )
    return replace(made, rows=rows, routes=routes)


def test_infinities_are_said_and_survive(tmp_path: Path) -> None:
    made = endless()
    files = written(made, tmp_path)
    assert Certification.from_json(files["certificates.json"]) == made
    text = text_of(files["certificates.html"])
    assert "no finite ε at worst" in text
    assert "∞: no finite ε; as noise, that no noise suffices." in text
    assert "2 records do not meet the target ε = 0.5" in text
    assert "they have no finite ε: 2 records with unlearning and 2 records without" in text
    costliest = html_tables(files["certificates.html"])[1]
    assert costliest[1][3:] == ["∞", "∞", "∞"]
    assert "∞" in certification_summary(made)


def test_nothing_finite_at_all_still_makes_a_page(tmp_path: Path) -> None:
    row = RecordRow(
        record=0,
        difficulty=math.inf,
        sigma_unlearn=math.inf,
        epsilon_unlearned_from_retrained=math.inf,
        epsilon_retrained_from_unlearned=math.inf,
        epsilon_without_unlearning=math.inf,
    )
    files = written(make(1, rows=(row,), routes=(), previews=()), tmp_path)
    checked(files["certificates.html"])
    text = text_of(files["certificates.html"])
    assert "the exact certificate gives no finite ε" in text
    assert "No picture of ε" in text
    assert "1 record does not meet the target ε = 0.5" in text


@pytest.mark.parametrize("target", [TARGET, None])
def test_one_record(target: float | None, tmp_path: Path) -> None:
    made = make(1, target=target)
    files = written(made, tmp_path)
    checked(files["certificates.html"])
    text = text_of(files["certificates.html"])
    assert "Record 0, deleted alone" in text
    assert "Over all records" not in text
    assert len(page(made).records) == 1
    assert len(page(made).records[0].table.rows) == 1
    assert "The record" in certification_summary(made)
    if target:
        assert f"To meet the target ε = 0.5 it needs σᵤ = {up(made.rows[0].sigma_unlearn)} a step." in text


def test_few_records_are_listed_once() -> None:
    view = page(make(20))
    assert [records.table.title for records in view.records] == ["All 20 records, costliest first"]
    assert len({row[0] for row in view.records[0].table.rows}) == 20


def test_records_without_images_show_features_or_nothing(tmp_path: Path) -> None:
    made = make(30)
    features = tuple(
        Preview(record=p.record, target="3.25", image_shape=None, values=(0.5, -1.25, 0.0, 2.0, 7.0))
        for p in made.previews
    )
    document = written(replace(made, previews=features), tmp_path)["certificates.html"]
    assert "<img" not in document
    assert html_tables(document)[1][1][-1] == "0.5, -1.25, 0, 2, …"
    bare = written(replace(made, previews=()), tmp_path)["certificates.html"]
    assert "<img" not in bare
    assert {row[1] for row in html_tables(bare)[1][1:]} == {"–"}
    assert "leading features" not in bare


def test_without_routes_there_is_no_word_of_them(tmp_path: Path) -> None:
    files = written(make(60, routes=(), assumptions={}), tmp_path)
    assert "routes.csv" not in files
    text = text_of(files["certificates.html"])
    assert "Routes compared" not in text
    assert "What each route rests on" not in text
    assert "repaired" not in text
    assert "Routes compared" not in certification_summary(make(60, routes=()))


def test_the_terminal_summary_is_short_and_complete(calibrated: Certification) -> None:
    summary = certification_summary(calibrated)
    lines = summary.splitlines()
    assert len(lines) < 70
    assert max(map(len, lines)) <= 110
    for text in ("The 5 costliest records", "The 5 cheapest records", "Routes compared", "ε without unlearning"):
        assert text in summary
    assert up(max(row.sigma_unlearn for row in calibrated.rows)) in summary


def test_tens_of_thousands_of_records_are_quick_and_light(tmp_path: Path) -> None:
    made = make(20_000)
    started = time.perf_counter()
    paths = write_certification(made, tmp_path, formats=("html", "csv", "md"))
    assert time.perf_counter() - started < 8
    sizes = {path.name: path.stat().st_size for path in paths}
    assert sizes["certificates.html"] < 500_000
    assert sizes["certificates.md"] < 50_000
    document = paths[0].read_text(encoding="utf-8")
    checked(document)
    assert "<image" in document  # the points are one small picture
