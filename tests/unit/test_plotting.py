"""Figures for notebooks: the same drawings as the pages, and an error where there is nothing to draw."""

from __future__ import annotations

import io
import re

import pytest
from matplotlib.figure import Figure

import reports
from audit.records.figures import plotting
from audit.records.result import AuditCollection
from mechanisms.errors import InvalidInputError, UnlearnAuditError
from reports.audits import distributions
from reports.audits.pictures import figures, forest
from reports.audits.view import page
from reports.page import drawing
from reports.page.drawing import to_svg


@pytest.mark.pictures
def test_every_kind_is_the_drawing_of_the_page(collection: AuditCollection) -> None:
    result = collection.results[1]
    drawn = {
        "forest": forest.forest(page(result).audits[0].findings, "x"),
        "trade_off": figures.trade_off(result.findings[1], "x"),
        "scores": distributions.picture(result.findings[1], "x"),
    }
    for kind, svg in drawn.items():
        figure = reports.plot(result, kind, finding=1)  # type: ignore[arg-type]
        assert isinstance(figure, Figure)
        with drawing.style():
            again = to_svg(figure, re.search(r'aria-label="([^"]*)"', svg)[1], "x")  # type: ignore[index]
        assert without_label(again) == without_label(svg), kind
    figure.savefig(io.BytesIO(), format="png")


@pytest.mark.pictures
def test_a_result_draws_itself_without_knowing_how(
    collection: AuditCollection, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = collection.results[1]
    drawn, again = io.BytesIO(), io.BytesIO()
    result.plot("trade_off", finding=1).savefig(drawn, format="raw")
    reports.plot(result, "trade_off", finding=1).savefig(again, format="raw")
    assert drawn.getvalue() == again.getvalue()
    monkeypatch.setattr(plotting, "GROUP", "nothing.is.installed.as.this")
    with pytest.raises(UnlearnAuditError, match=r"install unlearn-audit anew .* or call reports\.plot"):
        result.plot()


def without_label(svg: str) -> str:
    return re.sub(r'aria-label="[^"]*"', "", svg)


def test_what_cannot_be_drawn_is_said(collection: AuditCollection) -> None:
    result = collection.results[1]
    for kind, finding, said in (
        ("records", 0, "one of forest, trade_off, scores"),
        ("trade_off", 9, "a position below 2"),
        ("scores", -1, "a position below 2"),
    ):
        with pytest.raises(InvalidInputError, match=said):
            reports.plot(result, kind, finding=finding)  # type: ignore[arg-type]
    for kind in ("forest", "trade_off", "scores"):
        with pytest.raises(InvalidInputError, match="something to draw"):
            reports.plot(reports.redact(result), kind)  # type: ignore[arg-type]
