"""Is what a mechanism froze the same for every draw? Smoke tests, before and after the runs.

In the flow: :func:`audit.lots.running.run_lots` binds a mechanism once, to the data with the whole pool. What it
computed then must not be computed again from what a run was given: the law without the drawn records would depend on
the coins.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mechanisms.errors import require
from mechanisms.protocol import HasParameters
from mechanisms.reading.records import RecordSet

Flags = NDArray[np.bool_]
_FIX = (
    "compute it from the data with the whole pool, or without the pool, and pass it as a number: where it follows the "
    "draw there is no one law that all deletions are compared with"
)


def check_calibrate(
    mechanism: Any, data: RecordSet, pool: Sequence[int], coins: Flags, *, before: bytes | None = None
) -> bytes | None:
    """Refuse a user's ``calibrate`` whose value differs between two draws, or between two calls; return the value.

    Parameters
    ----------
    mechanism
        Anything; without a function ``calibrate`` there is nothing to look at.
    data, pool
        All records, and the candidates among them.
    coins
        Of one run, shape (m,), neither all nor none of them.
    before
        What was returned before the runs.

    Raises
    ------
    InvalidInputError
        Naming through what it depends on the draw: the number of records, which records, or something else that
        changed.
    """
    calibrate = getattr(mechanism, "calibrate", None)
    if not callable(calibrate):
        return None
    whole = _printed(calibrate(data, data.take(pool)))
    again = _printed(calibrate(data, data.take(pool)))
    for value in (again, before or whole):
        _same(whole, value, "called twice with the same records", "a global, a file, or chance")
    drawn = [int(record) for record, coin in zip(pool, coins, strict=True) if coin]
    others = [int(record) for record, coin in zip(pool, coins, strict=True) if not coin]
    for some in (drawn, others[:-1] or others):
        left_out = [record for record in pool if record not in some]
        given = _printed(calibrate(data.without(left_out), data.take(some)))
        _same(whole, given, "called for two draws", "len(forget), or which records it is given")
    return whole


def check_frozen(before: Mapping[str, Any], bound: object, run: int) -> None:
    """Refuse a bound mechanism whose public parameters changed while a run was made.

    Raises
    ------
    InvalidInputError
        Naming the parameter.
    """
    after = public(bound)
    for name in sorted({*before, *after}):
        same = _printed(before.get(name)) == _printed(after.get(name))
        got = f"{before.get(name)} then, and {after.get(name)} after run {run + 1}"
        require(same, f"parameters: {name}", expected="frozen when the pool was bound", got=got, fix=_FIX)


def public(bound: object) -> dict[str, Any]:
    """Return the public parameters of a bound mechanism."""
    return dict(bound.parameters()) if isinstance(bound, HasParameters) else {}


def _same(first: bytes, second: bytes, how: str, through: str) -> None:
    require(first == second, "calibrate", expected=f"the same value {how}", got=f"another, through {through}", fix=_FIX)


def _printed(value: Any) -> bytes:
    """Return bytes that are equal for equal values."""
    try:
        return pickle.dumps(np.asarray(value).tolist() if isinstance(value, np.ndarray | np.generic) else value)
    except Exception:
        return repr(value).encode()
