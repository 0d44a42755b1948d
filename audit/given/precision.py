"""Are the numbers of both worlds stored with the same precision? Rounding one file only tells the two apart.

In the flow: :mod:`audit.given.auditing` asks before anything is counted. A threshold between two stored values, or upon
one, finds the rounding and not the deletion; a test of the claim is then no test.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from audit.given.rows import GivenRows, largest_size
from audit.records.ledger import Control
from audit.statistics.multiplicity import equal_share
from audit.trials.independence import FALSE_ALARM

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

# Sums of squares of larger numbers overflow.
LARGEST = 1e140
_DECIMALS = range(-3, 13)
_BITS = {8: "bfloat16", 11: "float16", 24: "float32"}
_GRIDS: tuple[tuple[str, int], ...] = (*(("decimals", d) for d in _DECIMALS), *(("bits", b) for b in _BITS))
_MAX_COLUMNS = 1000
# So many values show how many digits a file was printed with.
_MAX_SHOWN = 2000
# More are no format but the numbers themselves.
_MAX_DIGITS = 12
# A larger chance that a step moves any row across a threshold would be felt in the level of a test.
HARMLESS = 1e-3
# Share of the rows in the narrowest window, from which the density is estimated.
_WINDOW = 0.05
# A product with a power of ten is off by a few units in its last place.
_TOLERANCE = 1e-15


def precision_control(given: GivenRows) -> Control:
    """Look for numbers that one world stores in coarser steps than the other, or in steps that swallow differences.

    Parameters
    ----------
    given
        All rows, as they were given.

    Notes
    -----
    For each step (powers of ten, and the significant bits of short floats) and column: every value of one world is a
    multiple, most values of the other are not, and of equal laws so many would fall on one side with probability at
    most 1e-6 over all of them together (Fisher's exact test; values at the ends of the range are left out, for clipped
    scores pile up there). Values in the same steps in both worlds, such as counts, pass, and so do values printed with
    the same number of significant digits, and steps so fine that some row lies within one of a threshold with
    probability of about 1e-3 or less: those of float32 for hundreds of models.
    """
    level = equal_share(FALSE_ALARM, 2 * len(_GRIDS) * min(given.unlearned.shape[1], _MAX_COLUMNS))
    message = next((said for find in (_overflow, _swallowed) for said in find(given)), None)
    p_value = None
    if message is None:
        found = list(_coarser(given))
        # Steps come from coarse to fine, and the coarsest is what was done to the file.
        p_value, said = next((f for f in found if f[0] <= level), min(found, default=(1.0, None)))
        message = said if p_value <= level else None
    return Control(
        name="precision",
        forget=(),
        label="",
        as_expected=message is None,
        message=message or "Values of both are stored in like steps, or in steps too fine to matter.",
        p_value=p_value,
        level=None if p_value is None else level,
        n_trials=max(len(given.unlearned), len(given.retrained)),
    )


def _overflow(given: GivenRows) -> Iterator[str]:
    largest = max(map(largest_size, (given.unlearned, given.retrained)))
    if largest > LARGEST:
        yield (
            f"Values up to {largest:.3g} in size overflow when they are squared, and swallow every smaller difference; "
            "store their logarithms, or mark failed models in another way."
        )


def _swallowed(given: GivenRows) -> Iterator[str]:
    """Say of numbers so large that their type holds no units, whether most of them are equal to another."""
    for rows, dtype, name in zip((given.unlearned, given.retrained), given.dtypes, given.names, strict=True):
        whole_from = 2.0 ** (_significant_bits(dtype))
        if largest_size(rows) < whole_from:
            continue
        large = np.abs(rows) >= whole_from
        for column in np.flatnonzero(2 * large.sum(axis=0) > len(rows)):
            values, counts = np.unique(rows[:, column], return_counts=True)
            tied = int(counts[(np.abs(values) >= whole_from) & (counts > 1)].sum())
            if 2 * tied > len(rows):
                yield (
                    f"{tied:,} of {len(rows):,} values of {name} are so large that {dtype} stores them in steps above "
                    "1, and equal to another: smaller differences were lost. Subtract a constant before they are "
                    "stored, or store logarithms."
                )


def _significant_bits(dtype: np.dtype[Any]) -> int:
    return int(np.finfo(dtype).nmant) + 1 if dtype.kind == "f" and dtype.itemsize < 8 else 53


def _coarser(given: GivenRows) -> Iterator[tuple[float, str]]:
    """Yield a p-value and a sentence for every world, column and step in which it alone is stored."""
    chosen = np.unique(np.linspace(0, given.unlearned.shape[1] - 1, _MAX_COLUMNS).round().astype(np.intp))
    sides = given.unlearned[:, chosen], given.retrained[:, chosen]
    both = np.concatenate(sides)
    low, high = both.min(axis=0), both.max(axis=0)
    inner = [(rows > low) & (rows < high) for rows in sides]
    varies = [np.any(rows != rows[0], axis=0) for rows in sides]
    for kind, size in _GRIDS:
        for i, j in ((0, 1), (1, 0)):
            # Of values with a density the first row is off every grid: nothing more is computed.
            for column in np.flatnonzero(varies[i] & _is_on(sides[i][0], kind, size)):
                coarse, fine = sides[i][:, column], sides[j][:, column]
                if not np.all(_is_on(coarse, kind, size)):
                    continue
                n = int(inner[i][:, column].sum()), int(inner[j][:, column].sum())
                off = int(np.sum(inner[j][:, column] & ~_is_on(fine, kind, size)))
                between = both[(both[:, column] > low[column]) & (both[:, column] < high[column]), column]
                matters = off > 0 and n[1] <= 2 * off and _moved(between, kind, size) > HARMLESS
                if matters and not _is_one_format(coarse, fine):
                    where = f"column {chosen[column] + 1} of " if given.unlearned.shape[1] > 1 else ""
                    said = _said(f"{where}{given.names[i]}", given.names[j], kind, size)
                    yield _fisher(n[0], n[1], off), said


def _is_on(rows: Array, kind: str, size: int) -> Flags:
    """Return which values are multiples of 10^-size, or have that many significant bits."""
    if kind == "decimals":
        scaled = rows * 10.0**size if size >= 0 else rows / 10.0**-size
        return np.asarray(np.abs(scaled - np.round(scaled)) <= _TOLERANCE * np.abs(scaled))
    scaled = np.ldexp(np.frexp(rows)[0], size)
    return np.asarray(scaled == np.round(scaled))


def _is_one_format(one: Array, other: Array) -> bool:
    """Return whether both are printed with as many significant digits, which are other decimals at another size."""
    return _digits(one) == _digits(other) <= _MAX_DIGITS


def _digits(values: Array) -> int:
    return max(len(Decimal(repr(float(value))).normalize().as_tuple().digits) for value in values[:_MAX_SHOWN])


def _moved(values: Array, kind: str, size: int) -> float:
    """Return about how many rows lie within one step of a threshold where values are densest."""
    step = 10.0**-size if kind == "decimals" else float(np.abs(values).max()) * 2.0 ** (1 - size)
    ordered = np.sort(values)
    k = max(2, math.ceil(_WINDOW * len(ordered)))
    if k >= len(ordered):
        return math.inf
    narrowest = float((ordered[k:] - ordered[:-k]).min())
    return k * step / narrowest if narrowest > 0 else math.inf


def _fisher(n_on: int, n_other: int, off: int) -> float:
    """Return the probability that all ``off`` values off the grid fall among the other world's, if laws are equal."""

    def log_choose(n: int, k: int) -> float:
        return float(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))

    return float(np.exp(log_choose(n_other, off) - log_choose(n_on + n_other, off)))


def _said(coarse: str, fine: str, kind: str, size: int) -> str:
    steps = f"as {_BITS[size]}" if kind == "bits" else f"in steps of {10.0**-size:g}"
    return (
        f"All values of {coarse} are stored {steps}, and most of {fine} are not: rounding alone tells the two apart. "
        "Store both with the same digits and audit again; models that differ in this by themselves leak by it, which "
        "given values cannot show."
    )
