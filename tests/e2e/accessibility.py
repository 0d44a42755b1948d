"""Look at pages as axe-core does: ``make axe``, or ``python tests/e2e/accessibility.py AXE.js PAGE.html ...``.

Each page is opened at 400 and at 1280 pixels, and as it is printed. Everything that is found is printed; what is
serious or critical, a message of the browser, a request to elsewhere and anything wider than the window or the paper
make the exit code 1.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import audit
import reports
from audit.selftest.wild.result import WildResult
from reports.wild.writing import write_wild
from tests.e2e.test_browser import CHROMIUM, WIDTH_ON_PAPER, Browser, certificates, made
from tests.unit.report_cases import many

WIDTHS = (400, 1280)
STORED = Path(__file__).parents[1] / "golden" / "stored"
BAD = ("serious", "critical")
RUN = "axe.run(document, {resultTypes: ['violations']}).then(r => JSON.stringify(r.violations))"


def found(browser: Browser, axe: str, page: Path, width: int) -> Iterator[tuple[bool, str]]:
    """Give whether each finding is bad, and what it is."""
    opened = browser.open(page, width)
    outside = [url for url in opened.requests if not url.startswith("file:")]
    for text in (*opened.problems, *outside, *opened.overflow):
        yield True, text[:200]
    browser.evaluate(axe + "; 0")
    said = browser.call("Runtime.evaluate", session=True, expression=RUN, awaitPromise=True, returnByValue=True)
    for violation in json.loads(said["result"]["value"]):
        where = "; ".join(" ".join(node["target"]) for node in violation["nodes"][:3])
        text = f"{violation['impact']}: {violation['id']}, {len(violation['nodes'])} times: {where}"
        yield violation["impact"] in BAD, text


def audit_pages(folder: Path) -> list[Path]:
    """Return pages as audits and certificates write them, with every detail unfolded on request of the reader."""
    written = [
        *reports.write(made(0.01), folder / "one", ("html",), show_records=True),
        *reports.write([made(0.01), made(0.01, stop_when_decided=True)], folder / "several", ("html",)),
        *reports.write(many(30), folder / "many", ("html",)),
        *certificates(folder / "certificates"),
        *stored_pages(folder),
    ]
    pages = [path for path in written if path.suffix == ".html"]
    for path in pages:
        # What is folded is not looked at otherwise.
        text = path.read_text("utf-8").replace("<details", "<details open")
        path.with_name("unfolded.html").write_text(text, "utf-8")
    return pages + [path.with_name("unfolded.html") for path in pages]


def stored_pages(folder: Path) -> list[Path]:
    """Return pages of the other kinds, from results that the tests keep."""
    kinds: dict[str, tuple[Callable[[str], Any], Callable[[Any, Path], tuple[Path, ...]]]] = {
        "result-1-redacted": (audit.load_json, reports.write),
        "result-1-scores": (audit.load_json, reports.write),
        "lots-1": (audit.LotsResult.from_json, reports.write_lots),
        "models-1": (audit.ModelsResult.from_json, reports.write_models),
        "measure-1": (audit.MeasureResult.from_json, reports.write_measures),
        "wild-1": (WildResult.from_json, write_wild),
    }
    written: list[Path] = []
    for name, (read, write) in kinds.items():
        written += write(read((STORED / f"{name}.json").read_text("utf-8")), folder / name)
    return written


def main() -> int:
    """Look at the pages, print what was found, and return the exit code."""
    if CHROMIUM is None:
        print("Chromium is not installed: nothing was looked at")
        return 0
    axe = Path(sys.argv[1]).read_text("utf-8")
    bad = looked = 0
    with tempfile.TemporaryDirectory() as folder:
        pages = [*map(Path, sys.argv[2:]), *audit_pages(Path(folder))]
        browser = Browser(Path(folder) / "profile")
        for page in pages:
            for width in WIDTHS:
                looked += 1
                for is_bad, text in found(browser, axe, page.resolve(), width):
                    bad += is_bad
                    print(f"{page} at {width}: {text}")
            for text in browser.open(page.resolve(), WIDTH_ON_PAPER, "print").overflow:
                bad += 1
                print(f"{page} on paper: {text}")
        browser.close()
    print(f"{len(pages)} pages, {looked} times at a width and once on paper each: {bad} serious")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
