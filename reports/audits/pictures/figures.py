"""Pictures as inline SVG, byte for byte the same for the same result.

Kinds differ by shape, not by colour alone. The drawing is 350 units wide with letters of 12 units, so that it can be
read on a screen of 400 pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from audit.records.counts import Counts
from audit.records.evidence import Finding, Roc
from mechanisms.claim import Claim, Direction
from reports.audits.view import band, curves, direction, has_rare_events, near_diagonal
from reports.page import drawing
from reports.page.drawing import BLUE, GREEN, INK, MUTED, ORANGE, PURPLE, ROSE, SKY, VERMILION, Drawing, Point
from reports.page.numbers import Number, counted
from reports.page.parts import SandwichView

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]
LADDER = (
    ("lower bound", "bound", ">", VERMILION),
    ("exact of claim", "exact", "D", GREEN),
    ("claimed", "claimed", "<", BLUE),
    ("detectable", "detectable", "o", PURPLE),
    ("ceiling", "ceiling", "|", INK),
)
CURVES = (("o", VERMILION), ("s", PURPLE), ("^", GREEN), ("D", ORANGE))
UNLEARNED_FIRST = Direction.UNLEARNED_FROM_RETRAINED
# Ranges of epsilon wider than this are drawn on a logarithmic axis.
LOG_RATIO = 25.0


def sandwich(views: Sequence[SandwichView], prefix: str) -> str:
    """Return the picture of lower bound, exact, claimed, detectable and ceiling; one panel a delta."""
    return drawing.svg_of(lambda: draw_sandwich(views), prefix)


def draw_sandwich(views: Sequence[SandwichView]) -> Drawing | None:
    """Return the figure of :func:`sandwich`."""
    if not views:
        return None
    n_rungs = [len(_rungs(view)) for view in views]
    figure = drawing.figure(0.5 + sum(0.4 + 0.29 * n for n in n_rungs))
    axes = figure.subplots(len(views), 1, sharex=True, squeeze=False, height_ratios=[n + 0.4 for n in n_rungs])[:, 0]
    left, right, is_log = range_of([number.value for view in views for _, number, _, _ in _rungs(view)])
    last = axes[-1]
    last.set_xscale("log" if is_log else "linear")
    last.set_xlim(left, right)
    for ax, view in zip(axes, views, strict=True):
        _ladder(ax, view, left, right)
    if is_log:
        drawing.log_ticks(last.xaxis, left, right)
    else:
        last.xaxis.set_major_formatter(drawing.ticks())
    last.set_xlabel("ε in nats, logarithmic" if is_log else "ε in nats")
    spoken = "; ".join(
        f"{view.title}: " + ", ".join(f"{name} {number.text}" for name, number, _, _ in _rungs(view)) for view in views
    )
    return Drawing(figure=figure, spoken=f"Epsilon. {spoken}")


def trade_off(finding: Finding, prefix: str) -> str:
    """Return the picture of event rates in both worlds, with the band that the claim allows.

    Drawn upward is the rate among unlearned models or, near the diagonal, its difference from the other rate.
    """
    return drawing.svg_of(lambda: draw_trade_off(finding), prefix)


def draw_trade_off(finding: Finding) -> Drawing | None:
    """Return the figure of :func:`trade_off`."""
    shown, _ = curves(finding)
    if not shown:
        return None
    is_difference = near_diagonal(finding)
    lift = _difference if is_difference else _rate
    figure = drawing.figure(drawing.WIDTH * 1.1)
    ax = figure.subplots()
    grid = _rates_drawn()
    low, high = band(finding.claim, grid)
    ax.fill_between(grid, lift(grid, low), lift(grid, high), color=SKY, linewidth=0, label="claim allows")
    exact = _exact_claim(finding)
    if exact is not None:
        low, high = band(exact, grid)
        _law(ax, grid, lift(grid, high), "exact law allows")
        _law(ax, grid, lift(grid, low), None)
    ax.plot(grid, lift(grid, grid), color=MUTED, linewidth=0.7)
    for roc, kind in zip(shown, CURVES, strict=False):
        points = drawing.thinned(_points(roc, UNLEARNED_FIRST), 0.08)
        drawing.markers(ax, points, kind, drawing.short(roc.attack), lift=lift)
    star = _tested(finding, UNLEARNED_FIRST)
    if star is not None:
        drawing.star(ax, star, lift=lift)
    ax.set(xlim=(-0.02, 1.02), xlabel="event rate among retrained models")
    if is_difference:
        ax.set(ylabel="difference of rates, unlearned − retrained")
    else:
        ax.set(ylim=(-0.02, 1.02), aspect="equal", ylabel="event rate among unlearned models")
    drawing.legend(figure, ax)
    words = f"Event rates in both worlds for {counted(len(shown), 'attack')}, with the band that the claim allows"
    return Drawing(figure=figure, spoken=words)


def rare_events(finding: Finding, prefix: str) -> str:
    """Return both rates on logarithmic axes, for events in the direction of the evidence."""
    return drawing.svg_of(lambda: draw_rare_events(finding), prefix)


def draw_rare_events(finding: Finding) -> Drawing | None:
    """Return the figure of :func:`rare_events`."""
    shown, _ = curves(finding)
    if not shown:
        return None
    figure = drawing.figure(drawing.WIDTH * 1.1)
    ax = figure.subplots()
    way = direction(finding)
    edge, grid = _rare_rates_drawn(shown)
    ax.fill_between(grid, grid, finding.claim.max_tpr(grid, way), color=SKY, linewidth=0, label="claim allows")
    exact = _exact_claim(finding)
    if exact is not None:
        _law(ax, grid, exact.max_tpr(grid, way), "exact law allows")
    ax.plot(grid, grid, color=MUTED, linewidth=0.7)
    for roc, kind in zip(shown, CURVES, strict=False):
        points = drawing.thinned([point.above() for point in _points(roc, way)], 0.08, edge)
        drawing.markers(ax, points, kind, drawing.short(roc.attack), lift=_rate, edge=edge)
    star = _tested(finding, way)
    if star is not None:
        drawing.star(ax, star.above(), lift=_rate, edge=edge)
    worlds = ("retrained", "unlearned") if way is UNLEARNED_FIRST else ("unlearned", "retrained")
    ends = (edge * 0.7, 1.3)
    ax.set(xscale="log", yscale="log", xlim=ends, ylim=ends, aspect="equal")
    ax.set(xlabel=f"event rate among {worlds[0]} models", ylabel=f"event rate among {worlds[1]} models")
    for axis in (ax.xaxis, ax.yaxis):
        drawing.log_ticks(axis, *ends)
    drawing.legend(figure, ax)
    return Drawing(figure=figure, spoken=f"Event rates, {worlds[1]} against {worlds[0]}, logarithmic")


def band_rows(finding: Finding) -> Iterator[tuple[str, str, float, float, float]]:
    """Yield what both pictures of rates draw: picture, "claim" or "exact" law, rate across, lowest and highest rate."""
    shown, _ = curves(finding)
    if not shown:
        return
    exact, grid = _exact_claim(finding), _rates_drawn()
    laws = [("claim", finding.claim), *([("exact", exact)] if exact else [])]
    for name, claim in laws:
        low, high = band(claim, grid)
        yield from zip(repeat("trade_off"), repeat(name), *_lists(grid, low, high), strict=False)
    if has_rare_events(finding):
        _, grid = _rare_rates_drawn(shown)
        for name, claim in laws:
            high = claim.max_tpr(grid, direction(finding))
            yield from zip(repeat("rare_events"), repeat(name), *_lists(grid, grid, high), strict=False)


def _lists(*arrays: Array) -> list[list[float]]:
    return [[float(x) for x in array] for array in arrays]


def _rates_drawn() -> Array:
    corner = np.geomspace(1e-4, 0.02, 8)
    return np.unique(np.concatenate([[0.0, 1.0], corner, np.linspace(0.02, 0.98, 49), 1 - corner]))


def _rare_rates_drawn(shown: Sequence[Roc]) -> tuple[float, Array]:
    """Return where a rate of zero is drawn, and the rates."""
    edge = 0.5 / max(max(roc.n_unlearned, roc.n_retrained) for roc in shown)
    return edge, np.geomspace(edge * 0.7, 1, 70)


def _rungs(view: SandwichView) -> list[tuple[str, Number, str, str]]:
    numbers = [(name, getattr(view, field), marker, colour) for name, field, marker, colour in LADDER]
    return [rung for rung in numbers if rung[1] is not None]


def range_of(values: Sequence[float]) -> tuple[float, float, bool]:
    """Return the ends of the axis, and whether it is logarithmic."""
    positive = [value for value in values if 0 < value < math.inf]
    if not positive:
        return 0.0, 1.0, False
    low, high = min(positive), max(positive)
    if high / low > LOG_RATIO:
        return low / 2.5, high * 2.5, True
    return 0.0, high * 1.25, False


def _ladder(ax: Axes, view: SandwichView, left: float, right: float) -> None:
    """Draw one number a row with its text beside it, so that numbers close together stay readable."""
    rungs = _rungs(view)
    if math.isfinite(view.claimed.value):
        ax.axvspan(max(view.claimed.value, left), right, color=ROSE, linewidth=0)
        ax.axvline(max(view.claimed.value, left), color=BLUE, linewidth=0.8, linestyle=":")
    for row, (_, number, marker, colour) in enumerate(rungs):
        x = min(max(number.value, left), right)
        ax.plot([left, x], [row, row], color=colour, linewidth=1.4, alpha=0.45, clip_on=False)
        ax.plot(
            [x], [row], marker, color=colour, markersize=9 if marker != "|" else 13, markeredgewidth=1.8, clip_on=False
        )
        on_the_left = ax.transAxes.inverted().transform(ax.transData.transform((x, row)))[0] > 0.62
        offset = (-10, 0) if on_the_left else (10, 0)
        ax.annotate(
            number.text,
            (x, row),
            offset,
            textcoords="offset points",
            ha="right" if on_the_left else "left",
            va="center",
            bbox={"facecolor": "white", "alpha": 0.85, "linewidth": 0, "pad": 1.0},
            annotation_clip=False,
        )
    ax.set_yticks(range(len(rungs)), [name for name, _, _, _ in rungs])
    ax.set_ylim(len(rungs) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0, pad=9)
    ax.spines["left"].set_visible(False)
    ax.set_title(view.title, loc="left", fontsize=12)


def _rate(x: Array, y: Array) -> Array:
    return y


def _difference(x: Array, y: Array) -> Array:
    return y - x


def _law(ax: Axes, x: Array, y: Array, label: str | None) -> None:
    ax.plot(x, y, color=INK, linewidth=1, linestyle="--", label=label)


def _exact_claim(finding: Finding) -> Claim | None:
    """Return the claim of the exact certificate, unless it is the claim that is drawn anyway."""
    for certificate in finding.certificates:
        is_exact = certificate.claim.provenance == "exact" and certificate.claim.reference is finding.claim.reference
        if is_exact and certificate.claim.guarantee != finding.claim.guarantee:
            return certificate.claim
    return None


def _points(roc: Roc, way: Direction) -> list[Point]:
    return [
        _oriented(Counts(k_unlearned=k1, n_unlearned=roc.n_unlearned, k_retrained=k0, n_retrained=roc.n_retrained), way)
        for k1, k0 in zip(roc.k_unlearned, roc.k_retrained, strict=True)
    ]


def _tested(finding: Finding, way: Direction) -> Point | None:
    if not finding.tests:
        return None
    return _oriented(min(finding.tests, key=lambda test: test.p_value).bound.counts, way)


def _oriented(counts: Counts, way: Direction) -> Point:
    k1, n1, k0, n0 = counts.oriented(way)
    return Point(k1=k1, n1=n1, k0=k0, n0=n0)
