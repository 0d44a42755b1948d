"""Pictures of many certificates: how epsilon is distributed, and what each route asks for at each difficulty."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from audit.certificates.certification import Certification, RouteRow
from reports.certificates.words import route_name
from reports.page import drawing
from reports.page.drawing import BLUE, GREEN, INK, MUTED, ORANGE, PURPLE, VERMILION
from reports.page.numbers import INFINITE, counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

Array = NDArray[np.float64]
ROUTE_MARKERS = {
    "exact": ("D", GREEN),
    "repaired": ("s", PURPLE),
    "published": ("^", VERMILION),
    "uniform": ("v", ORANGE),
    "downdate": ("*", INK),
}
OTHER_ROUTE = ("P", BLUE)
# More points than this are drawn as one small image: a drawing of each would weigh megabytes.
MAX_VECTOR_POINTS = 2000
MAX_STEPS = 300
_RASTER_DPI = 200


def distribution(certification: Certification, prefix: str) -> str:
    """Return the share of records up to each epsilon, with and without unlearning; empty when none is finite."""
    with_unlearning = np.array([row.epsilon for row in certification.rows])
    without = np.array([row.epsilon_without_unlearning for row in certification.rows])
    shown = np.concatenate([with_unlearning, without])
    positive = shown[(shown > 0) & np.isfinite(shown)]
    if positive.size == 0:
        return ""
    target = certification.target_epsilon
    ends = [*positive.tolist(), *([target] if target else [])]
    low, high = min(ends) / 1.4, max(ends) * 1.4
    with drawing.style():
        drawn = drawing.figure(drawing.WIDTH * 0.85)
        ax = drawn.subplots()
        if target:
            ax.axvline(target, color=INK, linewidth=1.6, linestyle=":", label="target ε", zorder=5)
        for values, colour, line, label in (
            (without, VERMILION, "--", "without unlearning"),
            (with_unlearning, BLUE, "-", "with unlearning"),
        ):
            x, share = _steps(values, low, high)
            ax.plot(x, 100 * share, color=colour, linestyle=line, linewidth=1.8, drawstyle="steps-post", label=label)
        ax.set(xscale="log", xlim=(low, high), ylim=(-2, 102), xlabel="ε in nats, logarithmic", ylabel="% of records")
        drawing.log_ticks(ax.xaxis, low, high)
        drawing.legend(drawn, ax)
        words = f"Share of {counted(len(certification.rows), 'record')} up to each epsilon, with and without unlearning"
        return drawing.to_svg(drawn, words, prefix)


def difficulty(certification: Certification, prefix: str) -> str:
    """Return noise by route (with a target) or epsilon by route (without) against the difficulty of the record."""
    is_calibrated = certification.target_epsilon is not None
    known = {row.record: row.difficulty for row in certification.rows}
    x = np.array([row.difficulty for row in certification.rows])
    y = np.array([row.sigma_unlearn if is_calibrated else row.epsilon for row in certification.rows])
    routes = [row for row in certification.routes if row.record in known]
    route_x = np.array([known[row.record] for row in routes])
    route_y = np.array([row.sigma_unlearn if is_calibrated else row.epsilon for row in routes])
    if not np.isfinite(x).any():
        return ""
    with drawing.style():
        drawn = drawing.figure(drawing.WIDTH * 0.95)
        drawn.set_dpi(_RASTER_DPI)
        ax = drawn.subplots()
        place_x = _axis(ax, "x", np.concatenate([x, route_x]))
        place_y = _axis(ax, "y", np.concatenate([y, route_y]))
        many = len(x) > MAX_VECTOR_POINTS
        size, opacity = (3.0, 0.35) if many else (4.0, 0.6)
        label = "every record, exact"
        style: dict[str, Any] = {"color": MUTED, "markersize": size, "markeredgewidth": 0, "alpha": opacity}
        ax.plot(place_x(x), place_y(y), "o", rasterized=many, label=label, clip_on=False, **style)
        _route_markers(ax, certification, routes, place_x(route_x), place_y(route_y))
        ax.set_xlabel("difficulty of the record")
        ax.set_ylabel("noise needed, σᵤ" if is_calibrated else "ε by route")
        drawing.legend(drawn, ax)
        what = "Noise that each route asks for" if is_calibrated else "Epsilon by route"
        return drawing.to_svg(drawn, f"{what}, against the difficulty of the record", prefix)


def _route_markers(ax: Axes, certification: Certification, routes: Sequence[RouteRow], x: Array, y: Array) -> None:
    names = [*ROUTE_MARKERS, *sorted({row.route for row in routes} - set(ROUTE_MARKERS))]
    for name in names:
        chosen = [i for i, row in enumerate(routes) if row.route == name]
        if not chosen:
            continue
        marker, colour = ROUTE_MARKERS.get(name, OTHER_ROUTE)
        ax.plot(
            x[chosen],
            y[chosen],
            marker,
            color=colour,
            markersize=11 if marker == "*" else 8,
            markerfacecolor="white",
            markeredgewidth=1.6,
            clip_on=False,
            zorder=4,
            label=drawing.short(route_name(certification, name)),
        )


def _steps(values: Array, low: float, high: float) -> tuple[Array, Array]:
    """Return the corners of the share of values up to x, thinned; infinite values are never reached."""
    finite = np.sort(values[np.isfinite(values)])
    ranks = np.unique(np.linspace(0, finite.size, min(finite.size, MAX_STEPS) + 1).round().astype(int))[1:]
    x = np.concatenate([[low], np.maximum(finite[ranks - 1], low), [high]])
    share = np.concatenate([[0], ranks, [finite.size]]) / len(values)
    return x, share


class _Placed:
    """Places values on an axis on which zero and infinity have a line of their own."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high

    def __call__(self, values: Array) -> Array:
        return np.clip(np.nan_to_num(values, nan=self.low, posinf=self.high), self.low, self.high)


def _axis(ax: Axes, which: Literal["x", "y"], values: Array) -> _Placed:
    """Scale one axis of a picture to the values and label it; return where each value goes."""
    axis: Axis = ax.xaxis if which == "x" else ax.yaxis
    set_scale, set_ends = (ax.set_xscale, ax.set_xlim) if which == "x" else (ax.set_yscale, ax.set_ylim)
    positive = values[(values > 0) & np.isfinite(values)]
    if positive.size == 0:
        positive = np.array([1.0])
    low, high = float(positive.min()), float(positive.max())
    has_zero, has_infinity = bool((values <= 0).any()), bool(np.isposinf(values).any())
    margin = max((high / low) ** 0.06, 1.15)
    bottom = low / margin ** (2.5 if has_zero else 1)
    top = high * margin ** (2.5 if has_infinity else 1)
    set_scale("log")
    set_ends(bottom, top)
    drawing.log_ticks(axis, bottom, top)
    inner = [float(t) for t in axis.get_majorticklocs() if low / margin <= t <= high * margin]
    labels = [drawing.ticks()(t, None) for t in inner]
    ends = [(bottom, "0")] * has_zero + [(top, INFINITE)] * has_infinity
    axis.set_ticks([*inner, *(place for place, _ in ends)], [*labels, *(text for _, text in ends)])
    set_ends(bottom, top)
    return _Placed(bottom, top)
