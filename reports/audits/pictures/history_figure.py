"""The picture of the epsilon that was reached over time, as inline SVG."""

from __future__ import annotations

from audit.records.figures.history import History
from reports.audits.histories import curve_name
from reports.page import drawing
from reports.page.drawing import INK, MUTED, PURPLE, VERMILION, Drawing
from reports.page.numbers import down

STYLES = ((VERMILION, "-"), (PURPLE, "--"))


def over_time(found: History | None, prefix: str) -> str:
    """Return the lower bound after each number of pairs, with what is claimed; one curve a delta."""
    return drawing.svg_of(lambda: draw_over_time(found), prefix)


def draw_over_time(found: History | None) -> Drawing | None:
    """Return the figure of :func:`over_time`."""
    if found is None or not found.pairs or not found.curves:
        return None
    figure = drawing.figure(drawing.WIDTH * 0.8)
    ax = figure.subplots()
    for at in found.refits:
        ax.axvline(at, color=MUTED, linewidth=0.5)
    top = 0.0
    for curve, (colour, line) in zip(found.curves, STYLES, strict=False):
        pairs, bounds = (0, *found.pairs), (0.0, *curve.bounds)
        name = f"lower bound, {curve_name(curve)}"
        ax.step(pairs, bounds, where="post", color=colour, linestyle=line, linewidth=1.6, label=name)
        top = max(top, curve.claimed, *curve.bounds)
        ax.axhline(curve.claimed, color=colour, linewidth=1.2, linestyle=":")
    if found.refuted_at is not None:
        claimed = found.curves[0].claimed
        ax.plot([found.refuted_at], [claimed], "*", markersize=13, color=INK, markeredgecolor="white", label="refuted")
    ax.plot([], [], color=INK, linewidth=1.2, linestyle=":", label="claimed")
    ax.set(xlim=(0, found.pairs[-1] * 1.03), ylim=(0, top * 1.15 or 1.0))
    ax.set(xlabel="counted pairs of trials", ylabel="ε in nats")
    ax.xaxis.set_major_formatter(drawing.counts())
    ax.yaxis.set_major_formatter(drawing.ticks())
    handles, labels = ax.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=1, frameon=False, fontsize=11)
    reached = "; ".join(f"{curve_name(c)}: {down(c.bounds[-1])}" for c in found.curves)
    spoken = f"Lower bound on epsilon over {found.pairs[-1]:,} pairs of trials. Reached: {reached}"
    return Drawing(figure=figure, spoken=spoken)
