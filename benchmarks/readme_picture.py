"""Draw the picture of the README: that of the last record of a result, as the page has it, on white.

python benchmarks/readme_picture.py out/own/report.json docs/images/own.svg
"""

from __future__ import annotations

import sys
from pathlib import Path

import audit
from reports.audits.pictures import figures
from reports.audits.view import page


def main(source: str, target: str) -> None:
    result = audit.AuditResult.from_json(Path(source).read_text(encoding="utf-8"))
    finding = page(result).audits[-1].findings[-1]
    picture = figures.sandwich(finding.sandwiches, "picture")
    opened = picture.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" style="background: white" ', 1)
    Path(target).write_text(opened + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
