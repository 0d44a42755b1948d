"""What the order of given rows can show: that it was lost, or that the rows of two files depend on each other."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, ndtr

from audit.given.rows import MIN_ROWS, GivenRows
from audit.records.ledger import Control
from audit.trials.independence import FALSE_ALARM, N_COLUMNS, ranks_of

Array = NDArray[np.float64]


def sorted_column(given: GivenRows) -> str:
    """Return in words which column of which world is sorted; nothing where none is, or chance may have sorted it.

    Independent rows are sorted by chance with probability at most 1e-6.
    """
    for rows, name in ((given.unlearned, given.names[0]), (given.retrained, given.names[1])):
        rising, falling = (np.all(step, axis=0) for step in (rows[1:] >= rows[:-1], rows[1:] <= rows[:-1]))
        for column in np.flatnonzero(rising | falling):
            if _log_orders(rows[:, column]) > math.log(2 * 2 * rows.shape[1] / FALSE_ALARM):
                return name if given.are_scores else f"column {column + 1} of {name}"
    return ""


def _log_orders(values: Array) -> float:
    """Return the logarithm of the number of different orders of these values, of which two are sorted."""
    _, counts = np.unique(values, return_counts=True)
    return float(gammaln(len(values) + 1) - np.sum(gammaln(counts + 1)))


def paired_rows_control(given: GivenRows, *, rng: np.random.Generator) -> Control:
    """Test whether rows of one number in the two files depend on each other, by the correlation of their ranks.

    Parameters
    ----------
    given
        Rows in the order in which they were given; those of the longer file that have no partner are left out.
    rng
        Breaks ties.

    Notes
    -----
    The tests of this package take the two worlds for independent. The p-value is a normal approximation to the
    permutation law of Spearman's coefficient, with its exact variance 1 / (n - 1); times the columns that are looked
    at, 16 at most. False alarm at most 1e-6.
    """
    n, d = min(len(given.unlearned), len(given.retrained)), given.unlearned.shape[1]
    if n < MIN_ROWS:
        return Control(name="paired_rows", forget=(), label="", as_expected=True, applicable=False, message="Too few.")
    columns = np.unique(np.linspace(0, d - 1, N_COLUMNS).round().astype(np.intp))
    found = [_rank_correlation(given.unlearned[:n, j], given.retrained[:n, j], rng) for j in columns]
    correlation = max(found, key=abs)
    p_value = min(1.0, len(columns) * float(2 * ndtr(-abs(correlation) * math.sqrt(n - 1))))
    rejected = p_value <= FALSE_ALARM
    message = (
        f"Rows of one number in the two files depend on each other (rank correlation {correlation:+.3f}), so the two "
        "worlds are not independent: were they made from the same seeds, or from the same models?"
        if rejected
        else "Rows of one number in the two files are not correlated beyond chance."
    )
    return Control(
        name="paired_rows",
        forget=(),
        label="",
        as_expected=not rejected,
        message=message,
        p_value=p_value,
        level=FALSE_ALARM,
        n_trials=n,
    )


def _rank_correlation(first: Array, second: Array, rng: np.random.Generator) -> float:
    ranks = [ranks_of(values, rng=rng) for values in (first, second)]
    if any(len(r) == 0 for r in ranks):
        return 0.0
    x, y = (r - r.mean() for r in ranks)
    return float(x @ y / math.sqrt(float(x @ x) * float(y @ y)))
