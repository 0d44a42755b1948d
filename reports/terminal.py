"""The findings as a short table of plain text, for a terminal."""

from __future__ import annotations

import io
import math

from audit.result import AuditCollection, AuditResult
from reports.parts import AuditView, FindingView
from reports.tables import NONE
from reports.view import page
from reports.words import DETECTABLE


def summary(value: AuditResult | AuditCollection, *, width: int = 110) -> str:
    """Return one line a finding: record, what is claimed, lower bound, exact epsilon, verdict.

    Parameters
    ----------
    value
        What was found.
    width
        Columns of the terminal.
    """
    from rich.console import Console
    from rich.text import Text

    buffer = io.StringIO()
    # Text and not markup: names are data and may hold square brackets.
    console = Console(file=buffer, width=width, color_system=None, force_terminal=False, highlight=False, emoji=False)
    for audit in page(value).audits:
        console.print(Text(audit.title, style="bold"))
        console.print(_table(audit))
        console.print(Text(audit.headline))
    console.print(Text(DETECTABLE))
    lines = [line.rstrip() for line in buffer.getvalue().splitlines()]
    return "\n".join(lines) + "\n"


def _table(audit: AuditView) -> object:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("record", "claimed", "lower bound", "exact", "detectable", "ceiling", "verdict"):
        table.add_column(name, overflow="fold", justify="left" if name in ("record", "claimed", "verdict") else "right")
    for finding in audit.findings:
        table.add_row(*(Text(cell) for cell in _cells(finding)))
    return table


def _cells(finding: FindingView) -> tuple[str, ...]:
    view = finding.quoted
    verdict = f"{finding.verdict.symbol} {finding.verdict.text}"
    if view is None:
        return finding.heading, finding.claim, NONE, NONE, NONE, NONE, verdict
    epsilon = "no finite ε" if math.isinf(view.claimed.value) else f"ε ≤ {view.claimed.text}"
    claimed = f"{epsilon}, δ = {view.delta}"
    exact = view.exact.text if view.exact else NONE
    return finding.heading, claimed, view.bound.text, exact, view.detectable.text, view.ceiling.text, verdict
