"""A comparison for readers: tables for a terminal, and the same as Markdown for a pull request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from audit.records.words.phrases import name
from audit.regression.comparison import Outcome
from reports.page.numbers import DIGITS, counted, down, listed, nearest, up
from reports.page.parts import NONE, TableView

if TYPE_CHECKING:
    from audit.regression.comparison import (
        Change,
        Comparison,
        MeanComparison,
        RateComparison,
        Tally,
        UtilityComparison,
    )
    from audit.regression.differences import Difference

__all__ = ["comparison_markdown", "comparison_summary"]

MAX_CHANGES = 12
SYMBOLS = {
    Outcome.BETTER: "+ better",
    Outcome.NO_WORSE: "= no worse",
    Outcome.WORSE: "✕ WORSE",
    Outcome.UNDECIDED: "? undecided",
}
HEADLINES = {
    Outcome.WORSE: "REGRESSION SHOWN",
    Outcome.UNDECIDED: "NOT DECIDED: no regression is shown, and it is not shown either that there is none",
    Outcome.NO_WORSE: "NO REGRESSION: every line is no worse within its margin",
}
THIS_ATTACK = (
    "The rates are about these attacks at these events, and bound no epsilon: another attack may do better, and lower "
    "bounds cannot show that a mechanism is no worse. Worse: true positives more often, or false positives less often, "
    "by more than the margin, after what the other rate makes up for; or the worlds told apart better the other way "
    "round."
)
SEEN = (
    "Could have been seen: the smallest change for the worse (of a rate: true positives up, or false positives down) "
    "that would have been shown to exceed the margin with probability 0.8, about. Not seeing a difference is no proof "
    "that there is none."
)
COMPUTED = (
    "Computed numbers are compared as they are. Step: the largest one for the worse, relative to the baseline, or "
    "absolute for an accuracy."
)


def comparison_summary(comparison: Comparison, *, width: int = 120) -> str:
    """Return the comparison as plain text.

    Parameters
    ----------
    comparison
        What was found.
    width
        Columns of the terminal.
    """
    from reports.page.terminal import printed

    parts: list[str | TableView] = [_sides(comparison)]
    for table in _tables(comparison):
        parts += [table.title, table]
    return printed([*parts, *_sentences(comparison)], width)


def comparison_markdown(comparison: Comparison) -> str:
    """Return the comparison as GitHub-flavoured Markdown, fit for a comment on a pull request."""
    from reports.page.markdown import escape

    lines = [f"**{escape(_headline(comparison))}**", "", escape(_sides(comparison)), ""]
    for table in _tables(comparison):
        lines += [f"#### {escape(table.title)}", ""]
        rule = ["---:" if numeric else "---" for numeric in table.numeric]
        for cells in ([escape(column) for column in table.columns], rule, *([*map(escape, row)] for row in table.rows)):
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    for sentence in _sentences(comparison)[:-1]:
        lines += [escape(sentence), ""]
    return "\n".join(lines).strip() + "\n"


def _sides(comparison: Comparison) -> str:
    old, new = comparison.baseline, comparison.candidate
    return f"Baseline: {old.title} ({old.mechanism}). Candidate: {new.title} ({new.mechanism})."


def _headline(comparison: Comparison) -> str:
    lines = [
        *(tally.outcome for tally in comparison.tallies),
        *(mean.outcome for mean in comparison.means),
        *(rate.outcome for rate in comparison.rates),
        *(verdict.outcome for verdict in comparison.verdicts),
    ]
    words = {
        Outcome.WORSE: "worse",
        Outcome.UNDECIDED: "undecided",
        Outcome.NO_WORSE: "no worse",
        Outcome.BETTER: "better",
    }
    counts = [f"{lines.count(outcome)} {word}" for outcome, word in words.items() if outcome in lines]
    missing = sum(len(absence.forget) for absence in comparison.absences if absence.kind == "missing")
    counts += [f"{missing} missing from the candidate"] if missing else []
    return f"{HEADLINES[comparison.outcome]}. {counted(len(lines), 'line')}: {listed(counts) or 'nothing to compare'}."


def _tables(comparison: Comparison) -> list[TableView]:
    tables = []
    if comparison.verdicts:
        tables.append(_verdicts(comparison))
    if comparison.tallies:
        tables.append(_tallies(comparison.tallies))
    if comparison.changes:
        tables.append(_changes(comparison.changes))
    if comparison.means:
        tables.append(_means(comparison.means))
    if comparison.rates:
        tables.append(_rates(comparison.rates))
    if comparison.utilities:
        tables.append(_utilities(comparison.utilities))
    return tables


def _utilities(utilities: Sequence[UtilityComparison]) -> TableView:
    sides = [(u, (u.baseline or (None, None), u.candidate or (None, None))) for u in utilities]
    return TableView(
        title="What models are good for (mean ± standard deviation; decides nothing)",
        caption="",
        columns=("record", "baseline, unlearned", "retrained", "candidate, unlearned", "retrained"),
        rows=tuple(
            (_record(u.forget), *(NONE if worth is None else str(worth) for side in pair for worth in side))
            for u, pair in sides
        ),
        numeric=(False, True, True, True, True),
    )


def _sentences(comparison: Comparison) -> list[str]:
    """Everything below the tables, the headline last: it is what a reader of a log sees."""
    margins = comparison.margins
    sentences = [f"{_only_in(a.kind, a.what)}: {_records(a.forget)}." for a in comparison.absences]
    sentences += comparison.notes
    told = [f"epsilon and noise {margins.exact:g} of the baseline"] if comparison.tallies else []
    told += [f"accuracy {margins.accuracy:g}"] if comparison.means else []
    told += [f"rates {margins.rate:g}"] if comparison.rates else []
    if comparison.tallies:
        sentences.append(COMPUTED)
    if comparison.rates:
        sentences.append(THIS_ATTACK)
    if comparison.means or comparison.rates:
        sentences += [SEEN, f"All intervals hold together with probability {1 - margins.significance:g}."]
    if told:
        sentences.append(f"Margins: {listed(told)}.")
    return [*sentences, _headline(comparison)]


def _only_in(kind: str, what: str) -> str:
    where = "Missing from the candidate" if kind == "missing" else "Only in the candidate"
    return where if what == "record" else f"{where} ({what})"


def _records(forget: Sequence[tuple[int, ...]]) -> str:
    shown = [_record(one) for one in forget[:MAX_CHANGES]]
    more = [f"{len(forget) - MAX_CHANGES} more"] if len(forget) > MAX_CHANGES else []
    return f"{'record' if len(forget) == 1 else 'records'} {listed([*shown, *more])}"


def _record(forget: tuple[int, ...]) -> str:
    return "+".join(map(str, forget))


def _verdicts(comparison: Comparison) -> TableView:
    return TableView(
        title="Verdicts",
        caption="",
        columns=("record", "claim", "baseline", "candidate", ""),
        rows=tuple(
            (
                " ".join([_record(v.forget), f"({v.label})"] if v.label else [_record(v.forget)]),
                str(v.claim + 1),
                name(v.baseline).lower(),
                name(v.candidate).lower(),
                SYMBOLS[v.outcome],
            )
            for v in comparison.verdicts
        ),
        numeric=(False, True, False, False, False),
    )


def _tallies(tallies: Sequence[Tally]) -> TableView:
    return TableView(
        title="Computed numbers",
        caption="",
        columns=("from", "number", "compared", "worse", "better", "step", "at record", ""),
        rows=tuple(
            (
                t.source,
                t.quantity,
                str(t.n_compared),
                str(t.n_worse),
                str(t.n_better),
                _signed(t.largest_step),
                _record(t.at),
                SYMBOLS[t.outcome],
            )
            for t in tallies
        ),
        numeric=(False, False, True, True, True, True, True, False),
    )


def _changes(changes: Sequence[Change]) -> TableView:
    """The largest changes, those for the worse first."""
    ordered = sorted(changes, key=lambda c: (c.outcome is not Outcome.WORSE, -_size(c)))
    left = len(changes) - MAX_CHANGES
    return TableView(
        title="Changed by more than the margin" + (f" ({MAX_CHANGES} of {len(changes)})" if left > 0 else ""),
        caption="",
        columns=("record", "from", "number", "baseline", "candidate", ""),
        rows=tuple(
            (_record(c.forget), c.source, c.quantity, *_apart(c.baseline, c.candidate), SYMBOLS[c.outcome])
            for c in ordered[:MAX_CHANGES]
        ),
        numeric=(True, False, False, True, True, False),
    )


def _size(change: Change) -> float:
    """How far a number moved, as a share of the larger of the two."""
    largest = max(change.baseline, change.candidate)
    return 1.0 if largest == float("inf") else abs(change.candidate - change.baseline) / largest


def _apart(one: float, other: float) -> tuple[str, str]:
    """Return two numbers with the fewest digits (3 at least) at which they are seen to differ."""
    for digits in range(DIGITS, 17):
        texts = nearest(one, digits), nearest(other, digits)
        if texts[0] != texts[1]:
            return texts
    return repr(one), repr(other)


def _means(means: Sequence[MeanComparison]) -> TableView:
    return TableView(
        title="Accuracy of unlearned models",
        caption="",
        columns=("record", "route", "baseline", "candidate", "difference", "could have been seen", "runs", ""),
        rows=tuple(
            (
                _record(m.forget),
                m.route,
                nearest(m.baseline, DIGITS),
                nearest(m.candidate, DIGITS),
                _interval(m.difference),
                NONE if m.difference is None else _seen(m.difference, fall=True),
                f"{m.n_baseline} pairs" if m.paired else f"{m.n_baseline} and {m.n_candidate}",
                SYMBOLS[m.outcome],
            )
            for m in means
        ),
        numeric=(True, False, True, True, True, True, True, False),
    )


def _rates(rates: Sequence[RateComparison]) -> TableView:
    columns = (
        "record",
        "this attack",
        "event",
        "true positives",
        "difference",
        "false positives",
        "difference",
        "could have been seen",
        "",
    )
    return TableView(
        title="How often these attacks succeed",
        caption="",
        columns=columns,
        rows=tuple(_rate_row(rate) for rate in rates),
        numeric=(True, False, False, True, True, True, True, True, False),
    )


def _rate_row(rate: RateComparison) -> tuple[str, ...]:
    k_old, n_old, k0_old, n0_old = rate.baseline.oriented(rate.baseline_direction)
    k_new, n_new, k0_new, n0_new = rate.candidate.oriented(rate.candidate_direction)
    event = {"claim_row": "row with power", "plan_delta": "plan's δ", "telling_apart": "tells most"}[rate.role]
    return (
        _record(rate.forget),
        rate.attack,
        f"{event}, {'frozen' if rate.frozen else 'same design'}",
        f"{nearest(k_old / n_old, DIGITS)} → {nearest(k_new / n_new, DIGITS)}",
        _interval(rate.true_positives),
        f"{nearest(k0_old / n0_old, DIGITS)} → {nearest(k0_new / n0_new, DIGITS)}",
        _interval(rate.false_positives),
        f"{_seen(rate.true_positives, fall=False)} or {_seen(rate.false_positives, fall=True)}",
        SYMBOLS[rate.outcome],
    )


def _interval(difference: Difference | None) -> str:
    return NONE if difference is None else f"{_low(difference.low)} to {_high(difference.high)}"


def _low(value: float) -> str:
    return f"-{up(-value)}" if value < 0 else f"{'+' if value else ''}{down(value)}"


def _high(value: float) -> str:
    return f"-{down(-value)}" if value < 0 else f"{'+' if value else ''}{up(value)}"


def _signed(value: float) -> str:
    return f"-{nearest(-value, DIGITS)}" if value < 0 else f"{'+' if value else ''}{nearest(value, DIGITS)}"


def _seen(difference: Difference, *, fall: bool) -> str:
    # Signed by the direction that is for the worse.
    if difference.detectable == float("inf"):
        return "nothing"
    return f"{'-' if fall else '+'}{up(difference.detectable)}"
