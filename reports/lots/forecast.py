"""What an audit by lot could show, for a terminal."""

from __future__ import annotations

from audit.lots.power import LotsForecast, LotsPower, Rehearsed
from audit.records.words.rounding import counted, down, nearest, up
from reports.page.parts import NONE, TableView
from reports.page.terminal import printed

COLUMNS = ("AUC of a candidate", "power", "ε refuted with probability 0.8", "models needed")


def lots_forecast_summary(forecast: LotsForecast, *, width: int = 110) -> str:
    """Return ceiling, power and models needed as plain text, and which of lots and two worlds needs fewer models.

    Parameters
    ----------
    forecast
        What was foreseen.
    width
        Columns of the terminal.
    """
    rows = tuple(map(_cells, forecast.powers))
    table = TableView(title="", caption="", columns=COLUMNS, rows=rows, numeric=(True,) * len(COLUMNS))
    head = (
        f"{counted(forecast.candidates, 'candidate')}, each given and deleted or never given by the toss of a coin; "
        f"{counted(forecast.runs, 'model')}; the {forecast.guesses} surest guesses count. Claimed: ε ≤ "
        f"{up(forecast.epsilon)} at δ = {nearest(forecast.delta)}, level {up(forecast.significance)}."
    )
    top = f"Ceiling: no claim above ε = {up(forecast.ceiling)} can be refuted, even when every guess is right."
    about = "AUC: how often a candidate that was in scores above one that was not. Simulated Gaussian scores."
    return printed([head, top, table, about, comparison(forecast)], width)


def rehearsal_words(seen: Rehearsed) -> str:
    """Return what a rehearsal showed, and what is reckoned with."""
    return (
        f"Rehearsed: {seen.right:,} of {seen.guesses:,} guesses right, as at an AUC of {nearest(seen.likely)} a "
        f"candidate; with caution {nearest(seen.cautious)}."
    )


def comparison(forecast: LotsForecast) -> str:
    """Return which of lots and two worlds needs fewer trained models, as far as numbers alone tell."""
    if not forecast.two_worlds:
        return "At this delta two worlds cannot refute the claim with any number of models."
    worlds = f"Two worlds need at least {forecast.two_worlds} models for this claim, besides those that fit an attack"
    able = [power for power in forecast.powers if power.runs_needed is not None]
    fewer = [power for power in able if (power.runs_needed or 0) < forecast.two_worlds]
    if not fewer:
        return f"{worlds}: fewer than by lot, unless candidates are told apart better than that."
    first = min(fewer, key=lambda power: power.auc)
    return (
        f"{worlds}. By lot fewer are needed where candidates are told apart with an AUC of {nearest(first.auc)} or "
        f"more ({counted(first.runs_needed or 0, 'model')} there); where less well, compare two worlds."
    )


def _cells(power: LotsPower) -> tuple[str, ...]:
    needed = NONE if power.runs_needed is None else str(power.runs_needed)
    return nearest(power.auc), nearest(power.power, 3), down(power.detectable), needed
