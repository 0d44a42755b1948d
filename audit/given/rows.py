"""Given rows, checked, split and scored: the counterpart of :mod:`audit.gathering.contrast` where nothing is drawn."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attacks.protocol import Attack, AttackContext
from audit.gathering.contrast import Evidence, Kind
from audit.gathering.selection import PreparedAttack, prepare
from audit.given.bookkeeping import check_columns
from audit.plan.audit_plan import AuditPlan
from audit.records.ledger import DataRecord
from audit.trials.chunks import Stream, make_generator, score
from audit.trials.engines import worker_limits
from mechanisms.dataset import Dataset
from mechanisms.errors import InvalidInputError
from mechanisms.protocol import Access, ReleaseSpec
from mechanisms.reading.arrays import real_array
from mechanisms.reading.scalars import whole_number

Array = NDArray[np.float64]
Rows = NDArray[np.intp]
MIN_ROWS = 20


@dataclass(frozen=True, kw_only=True, eq=False)
class GivenRows:
    """Rows of both worlds as matrices, one row a model, in the order in which they were given."""

    unlearned: Array
    retrained: Array
    names: tuple[str, str]
    dtypes: tuple[np.dtype[Any], np.dtype[Any]]

    @staticmethod
    def of(
        unlearned: ArrayLike,
        retrained: ArrayLike,
        names: tuple[str, str],
        *,
        column: int | str | None = None,
        releases: bool = False,
    ) -> GivenRows:
        """Return the rows after checking every value.

        Parameters
        ----------
        unlearned, retrained
            One row a model.
        names
            What the two are called.
        column
            Which column is the score: its number, counted from 1, or its name in a table of pandas.
        releases
            Whether every column is known to be a parameter; else one that looks like bookkeeping is refused.

        Raises
        ------
        InvalidInputError
            For arrays that are not finite numbers with one row a model, too short, or of unequal width; a column that
            looks like bookkeeping.
        """
        if column is not None and not isinstance(column, str):
            column = whole_number(column, "column", fix="count columns from 1, or name one of a pandas table")
        if column is not None and releases:
            raise InvalidInputError(
                field="column",
                expected="absent where every column is a parameter",
                got=column,
                fix="leave out column or releases",
            )
        given = [
            real_array(values if column is None else _column(values, column, name), name)
            for values, name in zip((unlearned, retrained), names, strict=True)
        ]
        first, second = (_checked(values, name) for values, name in zip(given, names, strict=True))
        if first.shape[1] != second.shape[1]:
            raise InvalidInputError(
                field=names[1],
                expected=f"rows of {first.shape[1]} number(s), as in {names[0]}",
                got=f"rows of {second.shape[1]}",
                fix="give the same columns, in the same order, for both worlds",
            )
        # An array of matrices is no table, and holds no column beside the parameters.
        if column is None and not releases and max(array.ndim for array in given) < 3:
            check_columns(first, second, names)
        return GivenRows(unlearned=first, retrained=second, names=names, dtypes=(given[0].dtype, given[1].dtype))

    @property
    def are_scores(self) -> bool:
        """Whether a row is one number, which is its own score."""
        return bool(self.unlearned.shape[1] == 1)

    def clipped(self, largest: float) -> GivenRows:
        """Return the rows with larger values, of either sign, cut to that one."""
        sides = self.unlearned, self.retrained
        if all(largest_size(rows) <= largest for rows in sides):
            return self
        first, second = (np.clip(rows, -largest, largest) for rows in sides)
        return replace(self, unlearned=first, retrained=second)

    def data_record(self) -> DataRecord:
        """Return which rows these are; the data that models were trained on are not known."""
        digest = hashlib.sha256()
        for rows in (self.unlearned, self.retrained):
            digest.update(repr(rows.shape).encode())
            digest.update(np.ascontiguousarray(rows, dtype="<f8").data)
        return DataRecord(
            name=" and ".join(self.names),
            sha256=digest.hexdigest(),
            n_records=None,
            n_features=None,
            n_targets=None,
            kind="scores" if self.are_scores else "releases",
        )


def _column(values: Any, column: int | str, name: str) -> ArrayLike:
    """Return one column of a table or an array; the others may hold anything."""
    table = hasattr(values, "iloc") and hasattr(values, "columns")
    if isinstance(column, str) and table and list(values.columns).count(column) == 1:
        return cast(ArrayLike, values[column])
    array = values if table else real_array(values, name)
    width = 1 if array.ndim < 2 else int(array.shape[1])
    if isinstance(column, str) or array.ndim > 2 or not 1 <= column <= width:
        raise InvalidInputError(
            field="column",
            expected=f"one of the columns {', '.join(map(str, values.columns))}" if table else f"in [1, {width}]",
            got=column,
            fix="count columns from 1, or name one of a pandas table",
        )
    if table:
        return cast(ArrayLike, values.iloc[:, column - 1])
    return cast(ArrayLike, array if array.ndim < 2 else array[:, column - 1])


def _checked(array: NDArray[Any], name: str) -> Array:
    if array.ndim < 1 or array.size == 0:
        raise InvalidInputError(
            field=name,
            expected=f"at least {MIN_ROWS} rows, one a model",
            got=f"an array of shape {array.shape}",
            fix="give one score or one row of parameters for each model",
        )
    # Not a copy where it is none of need: rows may fill most of the memory, and nothing here changes them.
    rows = np.ascontiguousarray(array.reshape(len(array), -1), dtype=np.float64)
    if len(rows) < MIN_ROWS:
        raise InvalidInputError(
            field=name,
            expected=f"at least {MIN_ROWS} rows, one a model",
            got=f"{len(rows)} row(s) of {rows.shape[1]} number(s)",
            fix="add models; an audit needs hundreds. A table with models in columns must be transposed",
        )
    bad = np.argwhere(~np.isfinite(rows))
    if len(bad):
        row, column = (int(i) for i in bad[0])
        raise InvalidInputError(
            field=f"{name}, row {row}, column {column}",
            expected="a finite number",
            got=str(rows[row, column]),
            fix=f"find out why ({len(bad)} value(s) are NaN or infinite); leaving out failed models biases an audit",
        )
    return rows


def largest_size(rows: Array) -> float:
    """Return the largest absolute value."""
    return max(float(rows.max()), -float(rows.min()))


def no_data() -> Dataset:
    """Return the data set of an attacker who was given none."""
    return Dataset(name="none", features=np.empty((0, 0)), targets=np.empty((0, 0)), kind="regression")


def no_context(shape: tuple[int, ...]) -> AttackContext:
    """Return what the attacker of given rows is granted: their shape."""
    return AttackContext(
        retained=no_data(), deleted=no_data(), release=ReleaseSpec(shape=shape, access=Access.WHITE_BOX)
    )


def gather_rows(unlearned: Array, retrained: Array, attacks: Sequence[Attack], plan: AuditPlan, kind: Kind) -> Evidence:
    """Return scores of the counted rows, by attacks that were fitted on the others; a seeded shuffle splits them.

    Parameters
    ----------
    unlearned, retrained
        Shapes (n1, d) and (n0, d).
    attacks
        Which to fit.
    plan
        The share of rows that fit, and the seed.
    kind
        What the comparison is for: each has its own random streams.
    """
    context = no_context(unlearned.shape[1:])
    sides = [(rows, *split_rows(len(rows), plan, kind, i)) for i, rows in enumerate((unlearned, retrained))]
    prepared: dict[str, PreparedAttack] = {}
    scores: tuple[dict[str, Array], dict[str, Array]] = ({}, {})
    failures: dict[str, str] = {}
    for j, attack in enumerate(attacks):
        rng = make_generator(plan.seed, Stream.FITTING, 0, kind, j)
        fit = prepare(attack, sides[0][0][sides[0][1]], sides[1][0][sides[1][1]], context, rng)
        if fit.fitted is None:
            failures[attack.name] = fit.failure or "not fitted"
            continue
        with worker_limits():
            outcomes = [score(fit.fitted, rows[counted]) for rows, _, counted in sides]
        failed = [outcome for outcome in outcomes if isinstance(outcome, str)]
        if failed:
            failures[attack.name] = failed[0]
            continue
        prepared[attack.name] = fit
        for side, outcome in zip(scores, outcomes, strict=True):
            side[attack.name] = np.asarray(outcome)
    return Evidence(prepared=prepared, unlearned=scores[0], retrained=scores[1], failures=failures)


def n_fit(n: int, plan: AuditPlan) -> int:
    """Return how many of n rows fit and choose."""
    return plan.counting.n_fit_chunks((1,) * n)


def split_rows(n: int, plan: AuditPlan, kind: Kind, side: int) -> tuple[Rows, Rows]:
    """Return the rows that fit and those that count, each in the order given; rows may be in order of time."""
    shuffled = make_generator(plan.seed, Stream.GIVEN, kind, side).permutation(n)
    first = n_fit(n, plan)
    return np.sort(shuffled[:first]), np.sort(shuffled[first:])
