"""Controls of given rows: what can be checked when nothing can be drawn again.

Rows must be independent and alike: equal rows, neighbours that depend on each other, or retrained rows that drift make
a count of them meaningless.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from audit.controls.randomness import lag_one_control
from audit.gathering.contrast import Kind
from audit.gathering.testing import IDENTICAL, best_test, run_tests
from audit.given.blocks import column_blocks
from audit.given.order import paired_rows_control, sorted_column
from audit.given.rows import MIN_ROWS, GivenRows, gather_rows
from audit.plan.audit_plan import AuditPlan
from audit.records.ledger import Control
from audit.statistics.multiplicity import equal_share
from audit.trials.chunks import Stream, make_generator
from audit.trials.independence import at_extremes, chance_repeats, chosen_columns, fingerprints, n_repeated

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
    sides = given.unlearned, given.retrained
    n = len(sides[0]) + len(sides[1])
    if _are_whole(sides):
        return _not_applicable("duplicates", "Not applicable: whole numbers, which independent models may share.")
    if constant:
        return Control(
            name="duplicates",
            forget=(),
            label="",
            as_expected=False,
            message=f"Equal rows: {'; '.join(constant)}. {_CONSTANT}",
            n_trials=n,
        )
    found, forgiven, is_coarse = [], 0, False
    named = ((given.names[0], sides[:1]), (given.names[1], sides[1:]), ("the two together", sides))
    for name, some in named:
        prints = np.concatenate([fingerprints(rows) for rows in some])
        n_rows = len(prints)
        if n_repeated(prints) == n_rows - 1:
            found.append(f"all {n_rows:,} rows of {name} are the same")
            continue
        # Clipped scores pile up at the ends, and sparse ones at zero; stored scores are rounded.
        prints = prints[~_piled_up(some)]
        columns = chosen_columns(some[0].shape[1])
        repeats, allowed = n_repeated(prints), chance_repeats(np.concatenate([rows[:, columns] for rows in some]))
        is_coarse |= allowed >= n_rows // 2
        forgiven = max(forgiven, repeats)
        if repeats > allowed:
            found.append(f"{repeats:,} of {n_rows:,} rows of {name} are equal to an earlier one ({allowed:,} at most)")
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
    return Control(name="duplicates", forget=(), label="", as_expected=not found, message=message, n_trials=n)


def _are_whole(sides: tuple[Array, Array]) -> bool:
    """Return whether all are whole numbers, and not all models alike."""
    varies = False
    for block in column_blocks(len(sides[0]) + len(sides[1]), sides[0].shape[1]):
        both = np.concatenate([rows[:, block] for rows in sides])
        if not np.all(both == np.round(both)):
            return False
        varies |= bool(np.any(both != both[0]))
    return varies


def _piled_up(sides: Sequence[Array]) -> NDArray[np.bool_]:
    """Return which of the rows of all sides hold smallest or largest values of their columns only, or zeros only."""
    n = sum(map(len, sides))
    extreme, zero = np.ones(n, dtype=np.bool_), np.ones(n, dtype=np.bool_)
    for block in column_blocks(n, sides[0].shape[1]):
        both = np.concatenate([rows[:, block] for rows in sides])
        extreme &= at_extremes(both)
        zero &= ~np.any(both != 0, axis=1)
    return np.asarray(extreme | zero)


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
        columns = np.flatnonzero(same & ~np.any(others == rows[0], axis=0))
        both = np.concatenate([rows[:, columns], others[:, columns]])
        columns = columns[np.any(both != np.round(both), axis=0)]
        if len(columns):
            first = columns[0]
            more = f", and {len(columns) - 1:,} more columns are like it" if len(columns) > 1 else ""
            yield (
                f"column {first + 1} of {name} is {rows[0, first]:g} in all {len(rows):,} rows, and in none of the "
                f"{len(others):,} rows of {other}{more}"
            )
