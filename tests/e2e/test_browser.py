"""Every HTML page in headless Chromium: no console message, no request, nothing wider than the window, print too."""

from __future__ import annotations

import base64
import dataclasses
import fcntl
import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest

import audit
import reports
from audit.plan.audit_plan import CertifiedClaim
from audit.records.filing.case import Case, FiledModel
from audit.records.result import AuditResult
from mechanisms.ridge.langevin import RidgeLangevin
from mechanisms.sources import load_named
from reports.audits.pictures.forest import MOST_NAMED
from reports.audits.view import page as audits_page
from tests.e2e.paper import joined, page_texts
from tests.unit.report_cases import many

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe"),
)
# Chromium looks for the pipes at 3 and 4.
LAUNCH = "import os, sys; a = sys.argv; os.dup2(int(a[1]), 3); os.dup2(int(a[2]), 4); os.execv(a[3], a[3:])"
PROBLEMS = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: pages are not opened in a browser"),
    pytest.mark.pictures,
]


@dataclass(frozen=True, kw_only=True)
class Opened:
    """What happened while a page was opened at one width."""

    problems: list[str]
    requests: list[str]
    overflow: list[str]


class Browser:
    """A Chromium that is spoken to over a pipe: messages are JSON, each ends with a zero byte."""

    def __init__(self, folder: Path) -> None:
        theirs_in, self.ours_out = os.pipe()
        self.ours_in, theirs_out = os.pipe()
        high = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (theirs_in, theirs_out)]
        self.process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, *map(str, high), str(CHROMIUM), *OPTIONS, f"--user-data-dir={folder}"],
            pass_fds=high,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in (theirs_in, theirs_out, *high):
            os.close(end)
        self.numbers, self.left, self.events = itertools.count(1), b"", list[dict[str, Any]]()
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable", session=True)

    def call(self, method: str, *, session: bool = False, **parameters: Any) -> dict[str, Any]:
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": parameters}
        os.write(self.ours_out, json.dumps(message | ({"sessionId": self.session} if session else {})).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return dict(answer["result"])
            self.events.append(answer)

    def open(self, page: Path, width: int, media: str = "screen") -> Opened:
        self.events.clear()
        self.call("Emulation.setEmulatedMedia", session=True, media=media)
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", session=True, **size)
        self.call("Page.navigate", session=True, url=page.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())
        # Nothing scrolls on paper.
        free = "svg" if media == "print" else ".scroll, pre, svg"
        wide = self.evaluate(
            "[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1"
            f" && !e.closest('{free}')).map(e => e.tagName + ': ' + e.textContent.slice(0, 60))"
        )
        sent = [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]
        return Opened(
            problems=[json.dumps(e["params"])[:300] for e in self.events if e["method"] in PROBLEMS],
            requests=[url for url in sent if url != page.as_uri() and not url.startswith("data:")],
            overflow=wide,
        )

    def evaluate(self, expression: str) -> Any:
        return self.call("Runtime.evaluate", session=True, expression=expression, returnByValue=True)["result"]["value"]

    def close(self) -> None:
        self.call("Browser.close")
        self.process.wait(timeout=30)
        os.close(self.ours_in)
        os.close(self.ours_out)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self.left:
            more = os.read(self.ours_in, 1 << 16)
            assert more, "Chromium went away"
            self.left += more
        message, self.left = self.left.split(b"\0", 1)
        return dict(json.loads(message))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


def made(noise: float, *, stop_when_decided: bool = False) -> AuditResult:
    mechanism = RidgeLangevin(n_learn=20, n_unlearn=5, sigma_unlearn=noise, sampler="closed_form")
    return audit.run(
        *(mechanism, load_named("digits", rows=200)),
        forget=3,
        claim=CertifiedClaim(method="exact"),
        trials=200,
        seed=1,
        attacks=("lda", "likelihood_ratio"),
        stop_when_decided=stop_when_decided,
    )


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One page of each kind that is written; what is new among them belongs here."""
    folder = tmp_path_factory.mktemp("pages")
    fixed, sequential = made(0.01), made(0.01, stop_when_decided=True)
    written = {
        "alone": reports.write(fixed, folder / "alone"),
        "several": reports.write([fixed, sequential], folder / "several"),
        "redacted": reports.write([fixed, sequential], folder / "redacted", redact=True),
        "certificates": certificates(folder / "certificates"),
    }
    return {name: next(p for p in paths if p.suffix == ".html") for name, paths in written.items()}


def certificates(folder: Path) -> tuple[Path, ...]:
    from audit.certificates.certifying import certify, make_request
    from reports.certificates.writing import write_certification

    mechanism = RidgeLangevin(n_learn=20, n_unlearn=5, sigma_unlearn=0.01, sampler="closed_form")
    request = make_request(records="3,17", routes="exact,published", target=None)
    return write_certification(certify(mechanism, load_named("digits", rows=200), request, seed=1), folder)


@pytest.mark.parametrize("media", ["screen", "print"])
@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("name", ["alone", "several", "redacted", "certificates"])
def test_page_is_silent_and_fits(browser: Browser, pages: dict[str, Path], name: str, width: int, media: str) -> None:
    opened = browser.open(pages[name], width, media)
    assert opened.problems == []
    assert opened.requests == []
    if (width, media) != (400, "print"):  # no paper is that narrow
        assert opened.overflow == []


def test_links_of_a_page_lead_somewhere(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["alone"], 1280)
    links = browser.evaluate("[...document.querySelectorAll('a')].map(a => a.getAttribute('href'))")
    files = {link for link in links if not link.startswith("#")}
    assert {"report-data/epsilon.csv", "report-data/rates.csv", "report-data/histograms.csv"} <= files
    assert all((pages["alone"].parent / link).is_file() for link in files)


def test_only_what_is_unfolded_is_printed(browser: Browser, pages: dict[str, Path]) -> None:
    heights = (
        "[...document.querySelectorAll('details')].map(d => (d.open = {open}, d)).map(d =>"
        " d.getBoundingClientRect().height)"
    )
    browser.open(pages["alone"], 800, "print")
    folded = browser.evaluate(heights.replace("{open}", "false"))
    assert len(folded) > 5
    assert max(folded) == 0
    assert min(browser.evaluate(heights.replace("{open}", "true"))) > 0


def test_a_link_to_a_folded_record_unfolds_it(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["alone"], 1280)
    opened = browser.evaluate(
        "(() => { const links = [...document.querySelectorAll('.verdicts a')];"
        " return links.map(a => document.querySelector(a.getAttribute('href')).closest('details') !== null) })()"
    )
    assert opened
    assert all(opened)


PAPER = {"A4": (8.27, 11.7), "letter": (8.5, 11)}
# Without the margins of a page, in pixels.
WIDTH_ON_PAPER = 673
HEADINGS = ("What was deleted", "What was claimed", "What was found", "What to do next", "What it does not show")
CASE = Case(
    request_id="DSR-2026-0117",
    received=date(2026, 11, 2),
    decided=date(2026, 11, 5),
    erased=date(2026, 11, 6),
    retain_until=date(2031, 12, 31),
    controller="Example Clinic",
    system="Triage model",
    version="4.2",
    code_commit="3f2c9d1",
    operator="A. Operator",
    auditor="B. Auditor",
    reviewer="C. Reviewer",
    model_before=FiledModel(name="triage-4.1", sha256="5f" * 32),
    model_after=FiledModel(name="triage-4.2", sha256="6b" * 32),
)


def on_paper(browser: Browser, page: Path, paper: str) -> list[str]:
    browser.open(page, 1280, "print")
    width, height = PAPER[paper]
    printed = browser.call("Page.printToPDF", session=True, paperWidth=width, paperHeight=height)
    return page_texts(base64.b64decode(printed["data"]))


@pytest.mark.parametrize(("n", "most"), [(1, 3), pytest.param(30, 5, marks=pytest.mark.slow), (MOST_NAMED, 5)])
def test_a_report_for_the_file_is_short_on_paper(browser: Browser, tmp_path: Path, n: int, most: int) -> None:
    """Page one has what a file is read for and the picture of all records, below a case with every field."""
    made = dataclasses.replace(many(n), case=CASE)
    page, *_ = reports.write(made, tmp_path, ("html",))
    view = audits_page(made).audits[0]
    wanted = (*HEADINGS, *(passage.text for passage in view.compliance), "ε in nats", view.forest_caption)
    for paper in PAPER:
        first, *rest = printed = on_paper(browser, page, paper)
        assert len(printed) <= most
        assert [words for words in (*wanted, "retain until") if joined(words) not in first] == []
        assert all(joined(f"Record {i}") in first for i in range(n))
        assert n == 1 or joined(view.method[0].text) in "".join(rest)
    browser.open(page, WIDTH_ON_PAPER, "print")
    rows = "e => Math.round(e.getBoundingClientRect().height / parseFloat(getComputedStyle(e).lineHeight))"
    assert browser.evaluate(f"[...document.querySelectorAll('.front li')].map({rows})") == [1] * 5


@pytest.mark.parametrize(("media", "width"), [("screen", 1280), ("print", WIDTH_ON_PAPER)])
@pytest.mark.parametrize("name", ["alone", "redacted"])
def test_answers_have_room_with_and_without_a_picture(
    browser: Browser, pages: dict[str, Path], name: str, media: str, width: int
) -> None:
    browser.open(pages[name], width, media)
    widths = browser.evaluate("[...document.querySelectorAll('.compliance dd')].map(e => e.offsetWidth)")
    assert len(widths) >= 8
    assert min(widths) > 300


def test_a_page_that_misbehaves_is_caught(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text(
        '<!DOCTYPE html><p style="width: 900px">wide</p><img src="missing.png"><script>console.error("no")</script>'
    )
    opened = browser.open(page, 400)
    assert [url.rsplit("/", 1)[1] for url in opened.requests] == ["missing.png"]
    assert any("no" in problem for problem in opened.problems)
    assert len(opened.overflow) == 1
