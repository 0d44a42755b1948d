"""Compare numbers that are computed and not estimated: epsilon, noise, an accuracy without randomness.

In the flow: :mod:`audit.regression.comparing` collects them from two certifications or two results; each is compared as
it is, with a margin for rounding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from audit.regression.comparison import Absence, Change, Margins, Outcome, Tally

K = TypeVar("K")
T = TypeVar("T")
Forget = tuple[int, ...]
Item = tuple[str, str]
"""Where a computed number comes from (a route or a certificate's method), and which number it is."""
Numbers = Mapping[Item, Mapping[Forget, float]]
ACCURACY = "accuracy"


def compare_numbers(
    baseline: Numbers, candidate: Numbers, margins: Margins
) -> tuple[tuple[Tally, ...], tuple[Change, ...]]:
    """Return a tally of every quantity that both sides have, and each number that moved by more than its margin.

    Parameters
    ----------
    baseline, candidate
        Numbers by source and quantity, and then by deletion. Larger is worse, but for an accuracy.
    margins
        ``exact`` is relative to the baseline; ``accuracy`` is absolute.

    Notes
    -----
    Exact: the numbers are compared as they are. What only one side has is left to :func:`absences`.
    """
    tallies: list[Tally] = []
    changes: list[Change] = []
    for (source, quantity), old, new in matched(baseline, candidate):
        steps: dict[Forget, float] = {}
        moved: list[Change] = []
        for forget, before, after in matched(old, new):
            steps[forget] = step = _step(quantity, before, after)
            margin = margins.accuracy if quantity == ACCURACY else margins.exact
            if abs(step) > margin:
                outcome = Outcome.WORSE if step > 0 else Outcome.BETTER
                moved.append(
                    Change(
                        forget=forget,
                        source=source,
                        quantity=quantity,
                        baseline=before,
                        candidate=after,
                        outcome=outcome,
                    )
                )
        if not steps:
            continue
        at = max(steps, key=lambda forget: steps[forget])
        changes += moved
        tallies.append(
            Tally(
                source=source,
                quantity=quantity,
                n_compared=len(steps),
                n_worse=sum(change.outcome is Outcome.WORSE for change in moved),
                n_better=sum(change.outcome is Outcome.BETTER for change in moved),
                largest_step=steps[at],
                at=at,
            )
        )
    return tuple(tallies), tuple(changes)


def _step(quantity: str, before: float, after: float) -> float:
    """Return how far a number moved for the worse: relative to the baseline; absolute for an accuracy."""
    if quantity == ACCURACY:
        return before - after
    if before == after:
        return 0.0
    # A share of nothing, or of infinity: any step from there is one without bound.
    if before == 0:
        return float("inf")
    return -1.0 if before == float("inf") else after / before - 1


def absences(baseline: Numbers, candidate: Numbers) -> tuple[Absence, ...]:
    """Return what only one side has, deletions by source."""
    found: list[Absence] = []
    for kind, one, other in (("missing", baseline, candidate), ("extra", candidate, baseline)):
        lacking: dict[str, dict[Forget, None]] = {}
        for item, values in one.items():
            absent = [forget for forget in values if forget not in other.get(item, {})]
            if absent:
                lacking.setdefault(item[0], {}).update(dict.fromkeys(absent))
        found += [
            Absence(kind=kind, what=source, forget=tuple(sorted(forget)))  # type: ignore[arg-type]
            for source, forget in lacking.items()
        ]
    return tuple(found)


def matched(baseline: Mapping[K, T], candidate: Mapping[K, T]) -> Iterator[tuple[K, T, T]]:
    """Yield what both sides have, in the baseline's order."""
    for key, value in baseline.items():
        if key in candidate:
            yield key, value, candidate[key]


def reordered(baseline: Iterable[Forget], candidate: Iterable[Forget]) -> tuple[tuple[Forget, Forget], ...]:
    """Return the forget sets that both sides have, but not in one order, each as the baseline and the candidate say it.

    A mechanism is given the records in that order, so that the two are not one request, and are not compared.
    """
    theirs = {tuple(sorted(forget)): forget for forget in candidate}
    pairs = ((forget, theirs.get(tuple(sorted(forget)), forget)) for forget in dict.fromkeys(baseline))
    return tuple((one, other) for one, other in pairs if one != other)
