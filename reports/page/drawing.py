"""The matplotlib side of the pictures: style, axes, markers, and SVG without anything that changes by the day."""

from __future__ import annotations

import base64
import io
import math
import re
import struct
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from audit.statistics.bounds import clopper_pearson

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

Array = NDArray[np.float64]
Lift = Callable[[Array, Array], Array]
WIDTH = 350 / 72
INK, MUTED = "#1c2430", "#5a6472"
# Okabe and Ito (2008), some darkened for contrast on white; SKY is the claim's band, ROSE what lies beyond it.
BLUE, VERMILION, GREEN, PURPLE, ORANGE = "#0072B2", "#D55E00", "#007A5A", "#A3538C", "#B27300"
SKY, ROSE = "#D3E6F5", "#FBE9E0"
# Whiskers of one rate at a time; they show noise and decide nothing.
WHISKER_LEVEL = 0.05
STYLE: dict[str, Any] = {
    "svg.hashsalt": "unlearn-audit",
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 12,
    "figure.dpi": 72,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
}


@dataclass(frozen=True, kw_only=True)
class Point:
    """One event: occurrences and trials in the null world (``k0``, ``n0``) and in the other (``k1``, ``n1``)."""

    k1: int
    n1: int
    k0: int
    n0: int

    @property
    def x(self) -> float:
        """Rate in the null world."""
        return self.k0 / self.n0

    @property
    def y(self) -> float:
        """Rate in the other world."""
        return self.k1 / self.n1

    def above(self) -> Point:
        """Return the event, or its complement when the event lies below the diagonal."""
        if self.y >= self.x:
            return self
        return Point(k1=self.n1 - self.k1, n1=self.n1, k0=self.n0 - self.k0, n0=self.n0)


@contextmanager
def style() -> Iterator[None]:
    """Draw with this module's settings and nobody else's, whatever a user's matplotlibrc says."""
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        # Letters that the measuring font lacks (names are data) are drawn by the reader's own fonts.
        warnings.filterwarnings("ignore", message="Glyph .* missing", category=UserWarning)
        matplotlib.rcdefaults()
        for name, value in STYLE.items():
            matplotlib.rcParams[name] = value  # type: ignore[index]
        yield


def figure(height: float) -> Figure:
    """Return an empty figure, without the global state of pyplot."""
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH, height), layout="constrained")


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawing:
    """A finished figure, and what it shows in words."""

    figure: Figure
    spoken: str


def drawn_by(make: Callable[[], Drawing | None]) -> Drawing | None:
    """Return what is drawn in this module's style; None where there is nothing to draw."""
    with style():
        return make()


def svg_of(make: Callable[[], Drawing | None], prefix: str) -> str:
    """Return a drawing as inline SVG; "" where there is nothing to draw."""
    with style():
        made = make()
        return "" if made is None else to_svg(made.figure, made.spoken, prefix)


def to_svg(drawn: Figure, description: str, prefix: str) -> str:
    """Return the figure as inline SVG with a spoken description; identifiers are unique to ``prefix``."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    buffer = io.StringIO()
    # savefig draws, and lays out, everything twice; a page is mostly drawing.
    layout = drawn.get_layout_engine()
    if layout:
        layout.execute(drawn)
    drawn.set_layout_engine("none")
    FigureCanvasSVG(drawn).print_svg(buffer, metadata={"Date": None})  # type: ignore[no-untyped-call]
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    # A style element inside inline SVG would rule the whole page; the page's own style sheet has the rule.
    text = re.sub(r"<metadata>.*?</metadata>|<defs>\s*<style.*?</style>\s*</defs>", "", text, flags=re.DOTALL)
    text = re.sub(r"<[^>]*>", lambda tag: _slim(tag[0], prefix), text)
    label = escape(description, quote=True)
    head = re.search(r'viewBox="[^"]*"', text)
    box = head[0] if head else ""
    text = re.sub(r"<svg[^>]*>", lambda _: f'<svg {box} role="img" aria-label="{label}">', text, count=1)
    return re.sub(r"\n\s*", "\n", text).strip()


def _slim(tag: str, prefix: str) -> str:
    """Return one tag of the drawing without namespaces, unused identifiers, fonts, or decimals nobody can see."""
    # Inline SVG in HTML needs no namespaces, and a page without any address is easier to trust.
    tag = re.sub(r'\s+xmlns(:xlink)?="[^"]*"', "", tag).replace("xlink:href", "href")
    tag = re.sub(r'^<g id="[^"]*">$', "<g>", tag)
    tag = re.sub(r'(\sid="|href="#|url\(#)', rf"\g<1>{prefix}-", tag)
    tag = re.sub(
        r"font: ([\d.]+px)[^;\"]*|font-family:[^;\"]*;? ?", lambda m: f"font-size: {m[1]}" if m[1] else "", tag
    )
    return re.sub(r"-?\d+\.\d{3,}", lambda m: f"{float(m[0]):.2f}".rstrip("0").rstrip("."), tag)


def ticks() -> FuncFormatter:
    """Return tick labels like those in the tables: 0.01 and 1e-5, no raised exponents."""
    from matplotlib.ticker import FuncFormatter

    def label(value: float, _: int | None) -> str:
        text = f"{value:g}"
        return re.sub(r"e([+-])0*(\d)", lambda m: f"e{'-' if m[1] == '-' else ''}{m[2]}", text)

    return FuncFormatter(label)


def counts() -> FuncFormatter:
    """Return tick labels of whole numbers: 20,000."""
    from matplotlib.ticker import FuncFormatter

    return FuncFormatter(lambda value, _: f"{value:,.0f}")


def log_ticks(axis: Axis, low: float, high: float) -> None:
    """Label 1, 2, 5, 10, ... on a short logarithmic axis, whole decades on a long one."""
    from matplotlib.ticker import LogLocator, NullLocator

    subs = (1.0, 2.0, 5.0) if high / low < 200 else (1.0,)
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(ticks())


def legend(drawn: Figure, ax: Axes, columns: int = 2) -> None:
    """Put the legend above the axes, so many entries a row, where it covers nothing."""
    handles, labels = ax.get_legend_handles_labels()
    drawn.legend(
        handles, labels, loc="outside upper left", ncols=columns, frameon=False, fontsize=11, columnspacing=1.2
    )


def short(name: str) -> str:
    """Return a name that fits into a legend (a leading underscore would hide the entry)."""
    name = name if len(name) <= 24 else f"{name[:23]}…"
    return f" {name}" if name.startswith("_") else name


def markers(
    ax: Axes, points: Sequence[Point], kind: tuple[str, str], label: str, *, lift: Lift, edge: float = 0.0
) -> None:
    """Draw events with the Clopper-Pearson intervals of both rates.

    Parameters
    ----------
    kind
        Marker and colour.
    lift
        Height at which a pair of rates (null world, other world) is drawn.
    edge
        Where a rate of zero goes, on a logarithmic axis.
    """
    if not points:
        return
    marker, colour = kind
    x, y = _whiskers(ax, points, colour, lift, edge)
    ax.plot(
        x, lift(x, y), marker, color=colour, markersize=5, markerfacecolor="white", markeredgewidth=1.2, label=label
    )


def star(ax: Axes, point: Point, *, lift: Lift, edge: float = 0.0) -> None:
    """Mark the tested event."""
    x, y = _whiskers(ax, [point], INK, lift, edge)
    ax.plot(x, lift(x, y), "*", markersize=13, color=INK, markeredgecolor="white", label="tested event", zorder=5)


def thinned(points: Iterable[Point], gap: float, edge: float = 0.0) -> list[Point]:
    """Return points at least ``gap`` of the axis apart, so that whiskers do not become a thicket."""
    span = -math.log(edge) if edge else 1.0

    def place(rate: float) -> float:
        return math.log(max(rate, edge) / edge) / span if edge else rate

    kept: list[Point] = []
    for point in sorted(points, key=lambda p: (p.x, p.y)):
        if all(math.hypot(place(point.x) - place(p.x), place(point.y) - place(p.y)) >= gap for p in kept):
            kept.append(point)
    return kept


def _whiskers(ax: Axes, points: Sequence[Point], colour: str, lift: Lift, edge: float) -> tuple[Array, Array]:
    """Draw the intervals of both rates and return the rates."""
    x, x_low, x_high = _with_ends([(point.k0, point.n0) for point in points], edge)
    y, y_low, y_high = _with_ends([(point.k1, point.n1) for point in points], edge)
    gap = np.full(len(points), np.nan)
    # All whiskers are one broken line: a tenth of the bytes of one path each.
    along = np.column_stack([x_low, x_high, gap, x, x, gap]).ravel()
    across = np.column_stack([y, y, gap, y_low, y_high, gap]).ravel()
    ax.plot(along, lift(along, across), color=colour, linewidth=0.8)
    return x, y


def _with_ends(counts: Sequence[tuple[int, int]], edge: float) -> tuple[Array, Array, Array]:
    k, n = np.asarray(counts).T
    low, high = clopper_pearson(k, n, level=WHISKER_LEVEL)
    return np.maximum(k / n, edge), np.maximum(low, edge), np.maximum(high, edge)


def image(values: Sequence[float], shape: tuple[int, int]) -> str:
    """Return a grey picture (0 white, 1 black, row by row) as a data URI."""
    rows, columns = shape
    grid = np.nan_to_num(np.asarray(values, dtype=np.float64), nan=0.0).reshape(rows, columns)
    pixels = np.round(255 * (1 - np.clip(grid, 0, 1))).astype(np.uint8)
    # Filter byte 0 before every row; stored, not deflated, so that the bytes do not depend on the zlib in use.
    raw = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(raw, 0)), (b"IEND", b""))
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    return "data:image/png;base64," + base64.b64encode(png).decode()
