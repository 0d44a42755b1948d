"""The picture of all records: how far each can be told apart, by rank, over the band of retained models."""

from __future__ import annotations

import numpy as np

from audit.records.models import ModelsResult
from reports.page import drawing
from reports.page.numbers import counted

# More would be a thicket.
_MOST_WHISKERS = 150


def ranks(result: ModelsResult, prefix: str) -> str:
    """Return the picture as inline SVG, empty where records are withheld."""
    return drawing.svg_of(lambda: draw_ranks(result), prefix)


def draw_ranks(result: ModelsResult) -> drawing.Drawing | None:
    """Return the figure of :func:`ranks`."""
    columns, band = result.records, result.band
    if columns is None or band is None or not len(columns):
        return None
    distance = np.abs(np.asarray(columns.auc) - 0.5)
    error = np.where(np.isfinite(columns.auc_se), 1.96 * np.asarray(columns.auc_se), 0.0)
    order = np.argsort(-distance, kind="stable")
    shares = np.arange(len(order)) / max(len(order) - 1, 1)
    chosen = np.unique(np.linspace(0, len(order) - 1, min(len(order), _MOST_WHISKERS)).round().astype(np.intp))
    drawn = drawing.figure(3.2)
    ax = drawn.add_subplot()
    ax.fill_between(band.shares, band.low, band.high, color=drawing.SKY, label="retained against retained")
    x, y, e = shares[chosen], distance[order][chosen], error[order][chosen]
    low, high = np.maximum(y - e, 0), np.minimum(y + e, 0.5)
    ax.vlines(x, low, high, color=drawing.VERMILION, linewidth=0.7, alpha=0.6)
    ax.plot(x, y, ".", color=drawing.VERMILION, markersize=4, label="unlearned against retained")
    ax.set_xlabel("records, by rank")
    ax.set_ylabel("|AUC - 1/2|")
    ax.set_xlim(-0.02, 1.02)
    ax.set_ylim(0, 0.52)
    ax.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    drawing.legend(drawn, ax, columns=1)
    described = (
        f"Distance of AUC from 1/2 of {counted(len(order), 'record')} by rank, from {distance.max():.2f} to "
        f"{distance.min():.2f}; retained models against retained ones lie between {min(band.low):.2f} and "
        f"{max(band.high):.2f}."
    )
    return drawing.Drawing(figure=drawn, spoken=described)
