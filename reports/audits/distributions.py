"""How scores lie in both worlds, and which attacks fired: words, a table, and the picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from audit.records.evidence import Finding
from audit.records.figures.histograms import ScoreHistogram
from reports.page import drawing
from reports.page.drawing import BLUE, INK, VERMILION, Drawing
from reports.page.numbers import listed, nearest, up
from reports.page.parts import HistogramView, TableView, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# More panels in one picture are too small; report.json and the CSV file have them all.
MAX_PANELS = 4
CAPTION = (
    "Filled: scores of unlearned models. Dashed outline: scores of retrained models. Both as shares of their world: "
    "the more the two shapes differ, the better the attack tells the worlds apart. Dotted line: the threshold of the "
    "tested event. The outermost bins also hold what lies beyond them. A picture only: the verdict rests on the tests."
)


def ordered(finding: Finding) -> tuple[ScoreHistogram, ...]:
    """Return the histograms, the attack with the strongest evidence first."""
    smallest = _p_values(finding)
    return tuple(sorted(finding.histograms, key=lambda h: smallest.get(h.attack, math.inf)))


def fired(finding: Finding) -> str:
    """Return which attacks refuted the claim; of a family of attacks, also the member that it had chosen."""
    if not finding.tests:
        return ""
    smallest = _p_values(finding)
    names = sorted({t.bound.attack for t in finding.tests if t.rejected}, key=lambda name: smallest[name])
    if not names:
        best = min(smallest, key=lambda name: smallest[name])
        if smallest[best] >= 1:
            return "No attack fired: none found any evidence against the claim."
        return f"No attack fired. The strongest evidence is that of {_named(best, finding)} (p = {up(smallest[best])})."
    return f"Fired: {listed(_named(name, finding) for name in names)}."


def histograms(finding: Finding) -> HistogramView | None:
    """Return the parts of a page about the scores; ``None`` where none were kept."""
    found = ordered(finding)
    if not found:
        return None
    # With several fits in one audit, scores of different fits do not lie on one scale.
    more = "" if finding.history is None else " Scores are those of one fit of the attack among several."
    if len(found) > 1:
        more += " The other attacks are in histograms.csv and report.json."
    first = found[0]
    rows = tuple(
        (nearest(low), nearest(high), f"{k1:,}", f"{k0:,}")
        for low, high, k1, k0 in zip(first.edges, first.edges[1:], first.unlearned, first.retrained, strict=False)
    )
    return HistogramView(
        title="Scores in both worlds",
        caption=CAPTION,
        table=TableView(
            title=f"Scores of {_named(first.attack, finding)}",
            caption=f"Counted scores in each bin, of {sum(first.unlearned):,} unlearned and {sum(first.retrained):,} "
            f"retrained models.{more}",
            columns=("from", "to", "unlearned", "retrained"),
            rows=rows,
            numeric=(True,) * 4,
        ),
    )


def picture(finding: Finding, prefix: str) -> str:
    """Return one panel an attack with the scores of both worlds, strongest evidence first."""
    return drawing.svg_of(lambda: draw_scores(finding), prefix)


def draw_scores(finding: Finding) -> Drawing | None:
    """Return the figure of :func:`picture`."""
    shown = ordered(finding)[:MAX_PANELS]
    if not shown:
        return None
    height = 0.9 + 1.35 * len(shown)
    figure = drawing.figure(height)
    # Every panel is alike, so that nothing has to be fitted, which takes longer than the drawing.
    figure.set_layout_engine("none")
    edges = {"left": 0.03, "right": 0.97, "top": 1 - 0.6 / height, "bottom": 0.5 / height}
    axes = figure.subplots(len(shown), 1, squeeze=False, gridspec_kw={**edges, "hspace": 0.75})[:, 0]
    for ax, histogram in zip(axes, shown, strict=True):
        _panel(ax, histogram, _threshold(finding, histogram.attack))
    axes[-1].set_xlabel("score: to the right, more like an unlearned model")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper left", ncols=3, frameon=False, fontsize=11, columnspacing=1.2)
    spoken = f"Scores of unlearned and retrained models, as histograms, for {listed(h.attack for h in shown)}"
    return Drawing(figure=figure, spoken=plain(spoken))


def _panel(ax: Axes, histogram: ScoreHistogram, threshold: float | None) -> None:
    edges = histogram.edges
    ax.stairs(
        _shares(histogram.unlearned), edges, fill=True, facecolor=BLUE, alpha=0.35, linewidth=0, label="unlearned"
    )
    ax.stairs(_shares(histogram.retrained), edges, color=VERMILION, linestyle="--", linewidth=1.4, label="retrained")
    if threshold is not None and edges[0] <= threshold <= edges[-1]:
        ax.axvline(threshold, color=INK, linewidth=1.2, linestyle=":", label="threshold")
    ax.set_title(drawing.short(plain(histogram.attack)), loc="left", fontsize=12)
    ax.set(xlim=(edges[0], edges[-1]), ylim=(0, None))
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.xaxis.set_major_formatter(drawing.ticks())


def _shares(counts: Sequence[int]) -> list[float]:
    total = sum(counts) or 1
    return [k / total for k in counts]


def _threshold(finding: Finding, attack: str) -> float | None:
    """Return the threshold of an attack's test with the smallest p-value."""
    mine = [test for test in finding.tests if test.bound.attack == attack]
    return min(mine, key=lambda test: test.p_value).bound.threshold if mine else None


def _p_values(finding: Finding) -> dict[str, float]:
    smallest: dict[str, float] = {}
    for test in finding.tests:
        smallest[test.bound.attack] = min(test.p_value, smallest.get(test.bound.attack, math.inf))
    return smallest


def _named(attack: str, finding: Finding) -> str:
    member = next((h.member for h in finding.histograms if h.attack == attack), None)
    return attack if member is None else f"{attack} (chose {member})"
