"""Look at pages as axe-core does: ``make axe``, or ``python tests/e2e/accessibility.py AXE.js PAGE.html ...``.

Each page is opened at 400 and at 1280 pixels. Everything that is found is printed; what is serious or critical, a
message of the browser, a request to elsewhere and anything wider than the window make the exit code 1.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import reports
from tests.e2e.test_browser import CHROMIUM, Browser, certificates, made
from tests.unit.report_cases import many

WIDTHS = (400, 1280)
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
    ]
    pages = [path for path in written if path.suffix == ".html"]
    for path in pages:
        # What is folded is not looked at otherwise.
        text = path.read_text("utf-8").replace("<details", "<details open")
        path.with_name("unfolded.html").write_text(text, "utf-8")
    return pages + [path.with_name("unfolded.html") for path in pages]


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
        browser.close()
    print(f"{looked} pages at a width were looked at: {bad} serious")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
