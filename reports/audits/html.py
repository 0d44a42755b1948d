"""One self-contained HTML file: no script, no address outside the file, a content security policy that says so."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from audit.records.evidence import Finding
from audit.records.result import AuditCollection, AuditResult
from reports.audits import distributions
from reports.audits.pictures import figures, history_figure
from reports.audits.view import page
from reports.page import drawing
from reports.page.html import template, unbroken
from reports.page.parts import FindingView, PageView, map_text

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """The pictures of one finding; empty where there is nothing to draw."""

    sandwich: Markup
    trade_off: Markup
    rare: Markup
    history: Markup
    histograms: Markup
    records: tuple[str, ...]


def render(value: AuditResult | AuditCollection, *, data: Collection[str] = ()) -> str:
    """Return the report as one HTML document.

    Parameters
    ----------
    value
        What was found.
    data
        Paths, relative to the page, of the files that hold its figures as data; those that there are get linked.
    """
    view = map_text(page(value), unbroken)
    return template("report.html.j2").render(page=view, pictures=_pictures(value, view), data=data) + "\n"


def _pictures(value: AuditResult | AuditCollection, view: PageView) -> Mapping[str, Pictures]:
    results = value.results if isinstance(value, AuditCollection) else (value,)
    pairs = [
        pair
        for result, audit in zip(results, view.audits, strict=True)
        for pair in zip(result.findings, audit.findings, strict=True)
    ]
    return {part.anchor: _draw(finding, part) for finding, part in pairs}


def _draw(finding: Finding, part: FindingView) -> Pictures:
    # Markup marks what this package drew itself; matplotlib escapes the names that it is given.
    return Pictures(
        sandwich=Markup(figures.sandwich(part.sandwiches, f"{part.anchor}-a")),
        trade_off=Markup(figures.trade_off(finding, f"{part.anchor}-b")),
        rare=Markup(figures.rare_events(finding, f"{part.anchor}-c") if part.rare_caption else ""),
        history=Markup(history_figure.over_time(finding.history, f"{part.anchor}-d")),
        histograms=Markup(distributions.picture(finding, f"{part.anchor}-e")),
        records=tuple(drawing.image(r.values, r.shape) if r.shape else "" for r in part.records),
    )
