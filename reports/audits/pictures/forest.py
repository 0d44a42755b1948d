"""One picture over all records of an audit: what was claimed, shown and detectable, a row a record."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from reports.audits.pictures.figures import range_of
from reports.page import drawing
from reports.page.drawing import BLUE, GREEN, PURPLE, ROSE, VERMILION, Drawing
from reports.page.numbers import counted
from reports.page.parts import FindingView, SandwichView

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# More rows than this cannot be named; more points than this are drawn as pixels.
MOST_NAMED = 40
MOST_POINTS = 1000
NAME_LENGTH = 24
# Drawn in this order, so that the bound lies on top.
MARKS = (
    ("detectable", "detectable", "o", PURPLE),
    ("exact", "exact, of what is claimed", "D", GREEN),
    ("claimed", "claimed", "<", BLUE),
    ("bound", "lower bound", ">", VERMILION),
)


def forest(findings: Sequence[FindingView], prefix: str) -> str:
    """Return the picture of every record that was counted, in the page's order; "" where there is none.

    Parameters
    ----------
    findings
        Findings of one audit. Where an audit counted at several delta the row is the one that its verdict quotes.
    prefix
        Makes the picture's identifiers unique on a page.
    """
    return drawing.svg_of(lambda: draw_forest(findings), prefix)


def draw_forest(findings: Sequence[FindingView]) -> Drawing | None:
    """Return the figure of :func:`forest`."""
    rows = [(finding, finding.quoted) for finding in findings if finding.quoted is not None]
    if not rows:
        return None
    named = len(rows) <= MOST_NAMED
    figure = drawing.figure(1.1 + (min(0.27 * len(rows), 1.0 + 0.17 * len(rows)) if named else 4.0))
    ax = figure.subplots()
    left, right, is_log = range_of([value for _, view in rows for value in _values(view)])
    ax.set_xscale("log" if is_log else "linear")
    ax.set_xlim(left, right)
    for place, (_, view) in enumerate(rows):
        if math.isfinite(view.claimed.value) and named:
            start = min(max(view.claimed.value, left), right)
            ax.barh(place, right - start, left=start, height=0.8, color=ROSE, linewidth=0)
    _marks(ax, [view for _, view in rows], left, right, is_small=not named)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_yticks(range(len(rows)) if named else [])
    if named:
        ax.set_yticklabels([_short(finding.heading) for finding, _ in rows], fontsize=11)
    else:
        ax.set_ylabel(f"{len(rows):,} records, in the order of the page")
    ax.tick_params(axis="y", length=0, pad=9)
    if is_log:
        drawing.log_ticks(ax.xaxis, left, right)
    else:
        ax.xaxis.set_major_formatter(drawing.ticks())
    ax.set_xlabel("ε in nats, logarithmic" if is_log else "ε in nats")
    figure.legend(loc="outside upper left", ncols=2, frameon=False, fontsize=11, handletextpad=0.3)
    return Drawing(figure=figure, spoken=_spoken(rows))


def _values(view: SandwichView) -> list[float]:
    return [number.value for field, _, _, _ in MARKS if (number := getattr(view, field)) is not None]


def _marks(ax: Axes, views: Sequence[SandwichView], left: float, right: float, *, is_small: bool) -> None:
    for field, label, marker, colour in MARKS:
        places = [i for i, view in enumerate(views) if getattr(view, field) is not None]
        if not places:
            continue
        values = [min(max(getattr(views[i], field).value, left), right) for i in places]
        ax.plot(
            *(values, places, marker),
            color=colour,
            label=label,
            markersize=3 if is_small else 7,
            linestyle="",
            clip_on=False,
            rasterized=len(places) > MOST_POINTS,
        )


def _short(name: str) -> str:
    return name if len(name) <= NAME_LENGTH else name[: NAME_LENGTH - 1] + "…"


def _spoken(rows: Sequence[tuple[FindingView, SandwichView]]) -> str:
    """Return what is drawn as a sentence; each record's numbers where they can be listened to."""
    text = f"Epsilon of {counted(len(rows), 'deletion')}: lower bound, claimed, detectable"
    if len(rows) > MOST_NAMED:
        return f"{text}."
    told = (f"{f.heading}: {v.bound.text}, {v.claimed.text}, {v.detectable.text}" for f, v in rows)
    return f"{text}. {'; '.join(told)}."
