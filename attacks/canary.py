"""Which records to audit: those that are hardest, of median difficulty, and easiest to delete."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mechanisms.dataset import Dataset
from mechanisms.errors import InvalidInputError

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


def choose_records(data: Dataset, rules: Sequence[Rule], *, penalty: float) -> tuple[int, ...]:
    """Return one record for each rule; ties go to the smaller index.

    Raises
    ------
    InvalidInputError
        For an unknown rule.
    """
    order = np.argsort(difficulty(data, penalty=penalty), kind="stable")
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
