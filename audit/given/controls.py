"""Controls of given rows: what can be checked when nothing can be drawn again.

Rows must be independent and alike: equal rows, neighbours that depend on each other, or retrained rows that drift make
a count of them meaningless.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from audit.controls.randomness import lag_one_control
from audit.gathering.contrast import Kind
from audit.gathering.testing import IDENTICAL, best_test, run_tests
from audit.given.order import paired_rows_control, sorted_column
from audit.given.rows import MIN_ROWS, GivenRows, gather_rows
from audit.plan.audit_plan import AuditPlan
from audit.records.ledger import Control
from audit.statistics.multiplicity import equal_share
from audit.trials.chunks import Stream, make_generator
from audit.trials.independence import at_extremes, chance_repeats, fingerprints, n_repeated

Array = NDArray[np.float64]

# Higher than the level of the other controls: code or data that changed on the way shows as a small drift of few rows.
HALVES_SIGNIFICANCE = 1e-3
MAX_LAGS = 1000
_CONSTANT = (
    "Either a file is broken (one model stored again and again, a fixed seed, a value that stands for a failure), or "
    "the mechanism gives this by itself, and it tells the worlds apart. Nothing in the rows says which: look at how "
    "they were made. If independent models give it by rights, say so by continuous=False (--discrete), and the rows "
    "are audited as they are."
)
_CAUSE = (
    "Are several rows of one model (say which by model_ids=), or does a model start from the one before? Rows that "
    "were grouped or partly sorted afterwards look like this too: give them in the order in which the models were made."
)


def given_controls(
    given: GivenRows,
    ordered: tuple[Mapping[str, Array], Mapping[str, Array]],
    plan: AuditPlan,
    *,
    continuous: bool = True,
) -> tuple[Control, ...]:
    """Return the controls of an audit of given rows.

    Parameters
    ----------
    given
        All rows.
    ordered
        Scores of the unlearned and the retrained world by attack, in the order of the rows.
    plan
        Attacks, seed and split.
    continuous
        Whether independent models never give equal rows.
    """
    rng = make_generator(plan.seed, Stream.TIES, 0)
    where = sorted_column(given)
    if where:
        message = f"Not applicable: {where} is sorted, so the order of its rows says nothing of when models were made."
        order = tuple(_not_applicable(name, message) for name in ("null", "lag_one", "paired_rows"))
    else:
        n = min(len(given.unlearned), len(given.retrained))
        lag_one = lag_one_control(
            *ordered,
            n_controls=1,
            forget=(),
            label="",
            rng=rng,
            n_lags=min(n // 4, MAX_LAGS),
            cause=_CAUSE,
        )
        order = (_halves(given.retrained, plan), lag_one, paired_rows_control(given, rng=rng))
    return (order[0], equal_rows(given, continuous=continuous), *order[1:])


def _not_applicable(name: str, message: str) -> Control:
    return Control(
        name=name,  # type: ignore[arg-type]
        forget=(),
        label="",
        as_expected=True,
        applicable=False,
        message=message,
    )


def _halves(retrained: Array, plan: AuditPlan) -> Control:
    """Test the first half of the retrained rows against the second for any difference at all.

    Halves of a shuffle could never differ; halves in the given order differ when the retraining changed on the way.
    """
    middle = len(retrained) // 2
    if middle < MIN_ROWS:
        return _not_applicable(
            "null", f"Not applicable: half of {len(retrained)} retrained rows is too few to compare."
        )
    evidence = gather_rows(retrained[:middle], retrained[middle:], plan.attackers, plan, Kind.NULL)
    level = equal_share(HALVES_SIGNIFICANCE, len(plan.attackers))
    tests = run_tests(
        evidence, dict.fromkeys(evidence.prepared, (("claim_row", IDENTICAL),)), levels={"claim_row": level}
    )
    if not tests:
        return _not_applicable("null", "Not run: no attack could be scored.")
    best = best_test(tests)
    message = (
        "The first half of the retrained rows differs from the second: they are not one world (was the code, the data "
        "or the machine changed on the way?), so no verdict can rest on them."
        if best.rejected
        else "The first and the second half of the retrained rows could not be told apart, as it must be."
    )
    return Control(
        name="null",
        forget=(),
        label="",
        as_expected=not best.rejected,
        message=message,
        p_value=best.p_value,
        level=level,
        n_trials=middle,
        bound=best.bound,
    )


def equal_rows(given: GivenRows, *, continuous: bool) -> Control:
    """Look for models that were filed twice, in one file or in both."""
    constant = list(_constants(given))
    if not continuous:
        message = "Not applicable: independent models may give equal rows, as was declared (continuous=False)."
        seen = f" Seen: {'; '.join(constant)}." if constant else ""
        return _not_applicable("duplicates", message + seen)
    both = np.concatenate([given.unlearned, given.retrained])
    if np.all(both == np.round(both)) and np.any(both != both[0]):
        return _not_applicable("duplicates", "Not applicable: whole numbers, which independent models may share.")
    if constant:
        return Control(
            name="duplicates",
            forget=(),
            label="",
            as_expected=False,
            message=f"Equal rows: {'; '.join(constant)}. {_CONSTANT}",
            n_trials=len(both),
        )
    found, forgiven, is_coarse = [], 0, False
    named = ((given.names[0], given.unlearned), (given.names[1], given.retrained), ("the two together", both))
    for name, rows in named:
        prints = fingerprints(rows)
        if n_repeated(prints) == len(rows) - 1:
            found.append(f"all {len(rows):,} rows of {name} are the same")
            continue
        # Clipped scores pile up at the ends, and sparse ones at zero; stored scores are rounded.
        prints = prints[~at_extremes(rows) & np.any(rows != 0, axis=1)]
        repeats, allowed = n_repeated(prints), chance_repeats(rows)
        is_coarse |= allowed >= len(rows) // 2
        forgiven = max(forgiven, repeats)
        if repeats > allowed:
            found.append(
                f"{repeats:,} of {len(rows):,} rows of {name} are equal to an earlier one ({allowed:,} at most)"
            )
    if found:
        message = (
            f"Equal rows: {'; '.join(found)}. These are not independent models: look for a fixed seed, a file that was "
            "appended twice, or a model filed in both worlds. If independent models may well give equal rows (trees, "
            "thresholds, rounded answers), say so by continuous=False (--discrete)."
        )
    elif is_coarse:
        message = "Not applicable: numbers are stored so coarsely that independent models share them."
        return _not_applicable("duplicates", message)
    elif forgiven:
        message = f"{forgiven:,} rows are equal to an earlier one, no more than rounding of the numbers explains."
    else:
        message = "No two rows are equal, within a file or across."
    return Control(name="duplicates", forget=(), label="", as_expected=not found, message=message, n_trials=len(both))


def _constants(given: GivenRows) -> Iterator[str]:
    """Say of each world what never varies in it, and varies in the other or has another value there.

    Of a density no two models have one number in common, and a world in which all do is no sample of it. Whole numbers
    are left out: these may be flags, and one that only one world raises is evidence.
    """
    sides = (given.unlearned, given.names[0]), (given.retrained, given.names[1])
    for (rows, name), (others, other) in (sides, sides[::-1]):
        same = np.all(rows == rows[0], axis=0)
        shared = int(np.all(others == rows[0], axis=1).sum())
        if np.all(same):
            if shared < len(others):
                value = f" ({rows[0, 0]:g})" if given.are_scores else ""
                also = f"{shared:,} of {len(others):,}" if shared else f"none of {len(others):,}"
                yield f"all {len(rows):,} rows of {name} are the same{value}, and {also} rows of {other} are that too"
            continue
        both = np.concatenate([rows, others])
        varied = np.any(both != np.round(both), axis=0) & ~np.any(others == rows[0], axis=0)
        columns = np.flatnonzero(same & varied)
        if len(columns):
            first = columns[0]
            more = f", and {len(columns) - 1:,} more columns are like it" if len(columns) > 1 else ""
            yield (
                f"column {first + 1} of {name} is {rows[0, first]:g} in all {len(rows):,} rows, and in none of the "
                f"{len(others):,} rows of {other}{more}"
            )
