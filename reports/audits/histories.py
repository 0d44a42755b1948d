"""How an audit that stops when decided is told: what was reached after how many pairs, and why stopping is fair."""

from __future__ import annotations

from collections.abc import Sequence

from audit.records.evidence import Finding
from audit.records.figures.history import BoundCurve, History
from audit.records.verdict import Verdict
from audit.records.words.phrases import upper_first
from reports.page.numbers import all_of, counted, down, nearest, up
from reports.page.parts import HistoryView, TableView

MAX_ROWS = 12
ROLES = {"claim_row": "where this audit has power", "plan_delta": "at the plan's δ"}
STOPPING = (
    "Pairs: one trial of each world. Levels and bounds hold at every look, so stopping early is valid (an e-process)."
)
VALID = (
    "Looking after every pair and stopping early is fair here. The evidence is what a gambler wins who bets, pair by "
    "pair, against the claim. If the claim holds, no bet gains on average, and the probability that the winnings EVER "
    "reach what a refutation needs, at any of the looks, is at most the level. So the verdict and the bounds hold "
    "whenever the audit stops. The price: with all of its trials a test of a fixed number would see somewhat more. "
    "Such a test must not be stopped early."
)


def history(finding: Finding) -> HistoryView | None:
    """Return the parts of a page about a finding's history; ``None`` for a fixed number of trials."""
    found = finding.history
    if found is None or not found.pairs:
        return None
    return HistoryView(
        title="ε reached over time",
        stopping=_stopping(found, undone=finding.verdict is Verdict.INCONCLUSIVE),
        text=f"{_how(found)} {VALID}",
        caption=_caption(found),
        table=_table(found),
    )


def tests_note(finding: Finding) -> str:
    """Return what the table of tests must say besides, when trials were counted until the claim was refuted."""
    if finding.history is None:
        return ""
    return (
        " Events were chosen anew from time to time, on earlier trials only: a row names the last one, and counts each "
        "trial by the event in force. Where all rows together refute the claim, and no row does alone, the smallest "
        "p-value is that of all of them."
    )


def curve_name(curve: BoundCurve) -> str:
    """Return what a curve is about."""
    return f"δ = {nearest(curve.delta)}, {ROLES[curve.role]}"


def _stopping(found: History, *, undone: bool) -> str:
    """Return how many pairs were counted, in one line; ``undone`` when the evidence was not accepted after all."""
    used, budget = found.pairs[-1], found.budget
    if found.refuted_at is None:
        return f"not decided by any look; {_all_counted(used)}"
    if undone:
        return f"counted {used:,} of {counted(budget, 'pair')}; their evidence was not accepted"
    if used < budget:
        return f"refuted after {counted(found.refuted_at, 'pair')}; stopped after {used:,} of at most {budget:,}"
    return f"refuted after {found.refuted_at:,} of {counted(budget, 'pair')}"


def _all_counted(used: int) -> str:
    return f"{all_of(used, 'pair')} {'was' if used == 1 else 'were'} counted"


def _how(found: History) -> str:
    used, budget = found.pairs[-1], found.budget
    text = (
        f"Trials were counted in pairs, one of each world, until every claim about this deletion was refuted or the "
        f"budget was spent; {counted(found.n_fit, 'trial')} of each world had fit the attacks before. "
    )
    if used < budget:
        saved = down(100 * (1 - used / budget), 2)
        text += f"The audit stopped after {used:,} of at most {budget:,} pairs: {saved} % were not needed."
    else:
        text += f"{upper_first(_all_counted(used))}."
    if found.refits:
        at = ", ".join(f"{n:,}" for n in found.refits)
        text += (
            f" Attacks were fitted and thresholds chosen anew after {at} pairs, on earlier trials only: no trial was "
            "counted under a choice that it had a part in."
        )
    return text


def _caption(found: History) -> str:
    refits = " Thin vertical lines: attacks and thresholds were chosen anew." if found.refits else ""
    mark = " Star: the claim was refuted." if found.refuted_at is not None else ""
    return (
        "Steps: the lower bound on ε after each number of counted pairs; it holds at all times at once, so it never "
        f"falls. Dotted: what is claimed.{mark}{refits}"
    )


def _table(found: History) -> TableView:
    kept = _rows(found)
    columns = ("pairs", *(f"lower bound, {curve_name(curve)}" for curve in found.curves), "smallest p-value so far")
    rows = tuple(
        (f"{found.pairs[i]:,}", *(down(curve.bounds[i]) for curve in found.curves), up(found.p_values[i])) for i in kept
    )
    return TableView(
        title="ε reached over time",
        caption=_table_caption(found.curves, found.level, len(kept) < len(found.pairs)),
        columns=columns,
        rows=rows,
        numeric=(True,) * len(columns),
    )


def _table_caption(curves: Sequence[BoundCurve], level: float, shortened: bool) -> str:
    text = (
        f"The p-value is that of the claim, from all attacks and rows together; its share of the level is {up(level)}."
    )
    if curves:
        text += " Bounds of " + "; ".join(
            f"{curve.attack} where {up(curve.claimed)} is claimed ({curve_name(curve)})" for curve in curves
        )
        text += "."
    return text + (" More looks are in report.json." if shortened else "")


def _rows(found: History) -> list[int]:
    """Return the looks to print: spread evenly, with the first, the last and the refuting one."""
    last = len(found.pairs) - 1
    kept = {round(i * last / (MAX_ROWS - 2)) for i in range(MAX_ROWS - 1)}
    if found.refuted_at is not None:
        kept.add(found.pairs.index(found.refuted_at))
    return sorted(kept)
