"""Which records to audit: those that are hardest, of median difficulty, and easiest to delete, and inserted ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mechanisms.dataset import Dataset
from mechanisms.errors import InvalidInputError
from mechanisms.reading.arrays import real_numbers

Array = NDArray[np.float64]
Rule = Literal["hardest", "median", "easiest"]
RULES: tuple[Rule, ...] = ("hardest", "median", "easiest")


def difficulty(data: Dataset, *, penalty: float) -> Array:
    """Return |r_i| sqrt(h_i / (1 - h_i)) for every record, shape (n,): residual and leverage of the ridge fit.

    That is the length, in the curvature's norm, by which the record's deletion moves the optimum, up to the factor
    1 / sqrt(1 - h_i).
    """
    x = data.features
    curvature = x.T @ x + penalty * np.eye(x.shape[1])
    solved = np.linalg.solve(curvature, x.T)
    leverage = np.einsum("ij,ji->i", x, solved)
    residual = np.linalg.norm(x @ (solved @ data.targets) - data.targets, axis=1)
    result: Array = residual * np.sqrt(leverage / np.maximum(1 - leverage, 1e-300))
    return result


def remaining_shift(
    data: Dataset,
    *,
    penalty: float,
    n_unlearn: int,
    step_size: float | None = None,
    sigma_unlearn: float = 1.0,
    sigma_learn: float = 0.0,
    n_learn: int = 1,
) -> Array:
    """Return |S^-1/2 (I - eta H')^K H'^-1 g_i| for every record, shape (n,): the shift that K steps leave, in noise.

    Records whose gradient lies in directions of little curvature are forgotten slowly, whatever their loss.

    Parameters
    ----------
    data, penalty
        The ridge objective.
    n_unlearn, step_size
        K steps of size eta, 1 / lambda_max by default.
    sigma_unlearn, sigma_learn, n_learn
        Noise of each step of unlearning and of learning, which together make S.

    Notes
    -----
    H' is the record's own retained Hessian, exactly; for S that of all records is taken, from which it differs by one
    rank. Costs n p K.
    """
    x = data.features
    values, vectors = np.linalg.eigh(x.T @ x + penalty * np.eye(x.shape[1]))
    eta = 1 / values[-1] if step_size is None else step_size
    kept = 1 - eta * values
    steps, squares = n_unlearn, kept**2
    variance = sigma_unlearn**2 * _sum_of_powers(squares, steps)
    variance += sigma_learn**2 * squares**steps * _sum_of_powers(squares, n_learn)
    if not np.all(variance > 0):
        # Without noise every shift is visible; its length still ranks records.
        variance = np.ones_like(values)
    z = x @ vectors
    newton = z / values
    leverage = np.einsum("ij,ij->i", z, newton)
    # H'^-1 x of the Hessian without the record (Sherman and Morrison 1950).
    shift = newton / np.maximum(1 - leverage, 1e-300)[:, None]
    for _ in range(steps):
        shift = kept * shift + eta * np.einsum("ij,ij->i", z, shift)[:, None] * z
    residual = np.linalg.norm(newton @ (z.T @ data.targets) - data.targets, axis=1)
    return np.asarray(np.linalg.norm(shift / np.sqrt(variance), axis=1) * residual)


def _sum_of_powers(base: Array, n: int) -> Array:
    """Return the sum of base^k over k < n."""
    total = np.zeros_like(base)
    for _ in range(n):
        total = 1 + base * total
    return total


def choose_records(
    data: Dataset, rules: Sequence[Rule], *, penalty: float, ranking: ArrayLike | None = None
) -> tuple[int, ...]:
    """Return one record for each rule; ties go to the smaller index.

    Parameters
    ----------
    data, penalty
        The ridge objective.
    rules
        Words out of hardest, median, easiest.
    ranking
        A number for every record, larger is harder to delete: :func:`remaining_shift`, or each record's epsilon or
        noise from exact certificates. :func:`difficulty` by default.

    Raises
    ------
    InvalidInputError
        For an unknown rule, or a ranking that is not one number a record.
    """
    ranked = difficulty(data, penalty=penalty) if ranking is None else real_numbers(ranking, "ranking")
    if ranked.shape != (data.n_records,) or np.any(np.isnan(ranked)):
        raise InvalidInputError(
            field="ranking",
            expected=f"{data.n_records} numbers, one a record",
            got=f"shape {ranked.shape}" if ranked.shape != (data.n_records,) else "NaN",
            fix="rank every record",
        )
    order = np.argsort(ranked, kind="stable")
    position = {"hardest": len(order) - 1, "median": len(order) // 2, "easiest": 0}
    for rule in rules:
        if rule not in position:
            raise InvalidInputError(
                field="records.choose",
                expected=f"rules among {', '.join(RULES)}",
                got=repr(rule),
                fix="or name records",
            )
    return tuple(int(order[position[rule]]) for rule in rules)


def random_records(data: Dataset, n: int, *, rng: np.random.Generator) -> tuple[int, ...]:
    """Return n distinct records at random.

    Raises
    ------
    InvalidInputError
        For n below 1, or not below the number of records.
    """
    if not 1 <= n < data.n_records:
        raise InvalidInputError(
            field="n", expected=f"in [1, {data.n_records - 1}]", got=n, fix="choose fewer than all records"
        )
    return tuple(int(i) for i in rng.choice(data.n_records, size=n, replace=False))


def with_boundary_outlier(data: Dataset, *, penalty: float) -> Dataset:
    """Return the data with one record appended at a corner of their range, the one that is hardest to delete.

    Parameters
    ----------
    data
        The records; each feature and each target of the new one stays within their range, or is a class of theirs.
    penalty
        Of the ridge objective that measures how hard.

    Returns
    -------
    Dataset
        The new record is the last one; the name says that it was inserted.

    Notes
    -----
    Corners are tried along the eigenvectors of the curvature, both ways, with every class, or the lowest and the
    highest targets. With q = x'H^-1 x before the insertion and e the residual there, :func:`difficulty` is
    |e| sqrt(q) / (1 + q).
    """
    x, y = data.features, data.targets
    curvature = x.T @ x + penalty * np.eye(x.shape[1])
    _, vectors = np.linalg.eigh(curvature)
    directions = np.concatenate([vectors.T, -vectors.T])
    corners = np.where(directions > 0, x.max(axis=0), x.min(axis=0))
    predicted = corners @ np.linalg.solve(curvature, x.T @ y)
    choices = np.unique(y, axis=0) if data.kind == "classification" else np.stack([y.min(axis=0), y.max(axis=0)])
    residual = np.linalg.norm(predicted[:, None, :] - choices, axis=2)
    pull = np.einsum("ij,ji->i", corners, np.linalg.solve(curvature, corners.T))
    corner, choice = np.unravel_index(int(np.argmax(residual * (np.sqrt(pull) / (1 + pull))[:, None])), residual.shape)
    return replace(
        data,
        name=f"{data.name} with an inserted outlier",
        features=np.vstack([x, corners[corner]]),
        targets=np.vstack([y, choices[choice]]),
    )
