"""E-processes: tests of a point claim that stay valid however often one looks, and whenever one stops.

In the flow: ``audit.gathering.streaming`` feeds pairs of events, one of each world, and stops when the evidence is
enough.

Write the claim as p1 <= e^epsilon p0 + delta. A pair (x1, x0) of 0/1 events has y = x1 - e^epsilon x0 - delta, with
mean at most 0 where the claim holds. Betting the share lambda of one's capital on y multiplies the capital by
1 + lambda y, which is never negative for lambda < 1 / (e^epsilon + delta). Where the claim holds the capital is a
nonnegative supermartingale: it exceeds 1/level EVER with probability at most level (Ville). The capital here is a
weighted mean over a fixed set of bets, so nothing is tuned, and it depends on the data through four counts only.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from audit.errors import SchemaError
from audit.statistics.bets import SAFETY, Cells, Floats, as_rows, log_rates, log_sum, log_weights
from mechanisms.errors import InvalidInputError

# Looks per doubling of the number of pairs, once there are more pairs than this.
LOOKS = 64


@dataclass(frozen=True, kw_only=True)
class EProcess:
    """Capital won against "epsilon is at most e" for every e of a grid, and the highest that it ever was.

    Make one with :func:`make_e_process`. It is never changed: :meth:`update` returns the next state.

    Parameters
    ----------
    epsilons
        Increasing grid, from 0.
    delta
        Of the claim.
    past
        Cells of earlier pairs that weigh the bets; ``None`` for none.
    cells
        Pairs since the bets were last weighed.
    earlier
        Pairs before that, under earlier events.
    log_start
        Logarithm of the capital when the bets were last weighed, for each epsilon.
    log_peak
        Logarithm of the highest capital at any look, for each epsilon.

    Notes
    -----
    Exact at every time at once (conservative by the rounding). Only the marginal probabilities given the past enter:
    the two events of a pair may depend on each other.

    References
    ----------
    Ville 1939, *Étude critique de la notion de collectif* (the inequality).
    Waudby-Smith, Ramdas 2024, "Estimating means of bounded random variables by betting", JRSS B 86 (arXiv:2010.09686).
    """

    epsilons: tuple[float, ...]
    delta: float
    past: Cells | None
    cells: Cells
    earlier: Cells
    log_start: tuple[float, ...]
    log_peak: tuple[float, ...]

    @property
    def n_pairs(self) -> int:
        """Pairs seen so far."""
        return int(self.cells.n + self.earlier.n)

    @property
    def log_capital(self) -> Floats:
        """Logarithm of the capital now, for each epsilon: an e-value at any time that is chosen from the past."""
        now: Floats = _log_capital(self, as_rows([self.cells]))[0]
        return now

    def update(self, x1: ArrayLike, x0: ArrayLike) -> EProcess:
        """Return the state after more pairs; arguments and errors as for :func:`advance`."""
        return advance(self, x1, x0).state

    def with_new_event(self, past: Cells | None) -> EProcess:
        """Return the state from which another event of the same claim is counted, with the capital carried over.

        The event, its threshold and ``past`` must be chosen from pairs that were counted before, or not at all.
        """
        start = tuple(map(float, self.log_capital))
        return replace(self, past=past, cells=Cells(), earlier=self.earlier.plus(self.cells), log_start=start)

    def p_value(self, epsilon: float) -> float:
        """Return an upper bound on the anytime-valid p-value of "epsilon is at most this", a point of the grid.

        Raises
        ------
        InvalidInputError
            When it is not on the grid.
        """
        return math.exp(-max(0.0, self.log_peak[self.index(epsilon)]))

    def bound(self, level: float) -> float:
        """Return a lower bound on epsilon that holds at all times at once with probability at least 1 - level.

        Notes
        -----
        The end of the unbroken run of refuted grid points upward from 0, never the largest refuted one: a grid point
        at or above the truth stops the run except with probability ``level``, and there are many above it. Every
        look uses the highest capital so far, by Ville's inequality, so the bound never falls.
        """
        return float(bounds_of(np.asarray(self.log_peak), self.epsilons, level))

    def index(self, epsilon: float) -> int:
        """Return the position of a grid point.

        Raises
        ------
        InvalidInputError
            When it is not on the grid: a neighbour would answer another question.
        """
        if epsilon not in self.epsilons:
            raise InvalidInputError(
                field="epsilon", expected="a point of the grid", got=epsilon, fix="put it into epsilons"
            )
        return self.epsilons.index(epsilon)

    def to_json(self) -> str:
        """Return the state as JSON text; :meth:`from_json` gives back an equal state, bit for bit."""
        return json.dumps(asdict(self), allow_nan=False)

    @staticmethod
    def from_json(text: str) -> EProcess:
        """Return the state that :meth:`to_json` wrote.

        Raises
        ------
        SchemaError
            When the text is no such state.
        """
        try:
            raw: dict[str, Any] = json.loads(text)
            for name in ("epsilons", "log_start", "log_peak"):
                raw[name] = tuple(map(float, raw[name]))
            for name in ("cells", "earlier", "past"):
                raw[name] = raw[name] if raw[name] is None else Cells(**raw[name])
            return EProcess(**raw)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise SchemaError(f"Expected the JSON of an e-process, got something else ({error!r}).") from None


def make_e_process(*, epsilons: Sequence[float], delta: float, past: Cells | None = None) -> EProcess:
    """Return an e-process before its first pair, with a capital of 1 against every epsilon of the grid.

    Parameters
    ----------
    epsilons
        Points to test, in nats: increasing, from 0. Bounds are points of this grid.
    delta
        In [0, 1).
    past
        Counts of the event among trials that will not be counted (the fit split): they weigh the bets. Any value is
        valid; a good one saves pairs.

    Raises
    ------
    InvalidInputError
        For a grid that is not finite and increasing from 0, or delta outside [0, 1).

    References
    ----------
    As :class:`EProcess`.
    """
    grid = tuple(map(float, epsilons))
    rising = bool(grid) and grid[0] == 0 and math.isfinite(grid[-1]) and all(np.diff(grid) > 0)
    if not rising:
        raise InvalidInputError(
            field="epsilons", expected="finite and increasing, from 0", got=grid, fix="use numpy.linspace(0, top, 50)"
        )
    if not 0 <= delta < 1:
        raise InvalidInputError(field="delta", expected="in [0, 1)", got=delta, fix="give a probability")
    zeros = (0.0,) * len(grid)
    return EProcess(
        epsilons=grid, delta=delta, past=past, cells=Cells(), earlier=Cells(), log_start=zeros, log_peak=zeros
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Advance:
    """The state after a batch of pairs, and what each look on the way saw.

    Parameters
    ----------
    state
        After the batch.
    looks
        Pairs of this batch that had been seen at each look, shape (looks,).
    log_capital
        At each look and epsilon, shape (looks, grid).
    """

    state: EProcess
    looks: NDArray[np.int64]
    log_capital: Floats


def advance(state: EProcess, x1: ArrayLike, x0: ArrayLike) -> Advance:
    """Return the state after a batch of pairs, with the capital at every look.

    Parameters
    ----------
    state
        The state before.
    x1, x0
        Whether the event occurred in the world that the claim bounds, and in the other, shape (pairs,), in the order
        of the pairs. Pair i of both must be fixed before its outcome is known (the i-th trial of each world).

    Raises
    ------
    InvalidInputError
        For arrays of different length, or entries other than 0 and 1.

    Notes
    -----
    Looks: every pair at first, later ``LOOKS`` to a doubling, and always the last pair of the batch. Fewer looks than
    pairs lose next to nothing and stay valid. The capital does not depend on how pairs are cut into batches.

    References
    ----------
    As :class:`EProcess`.
    """
    first, second = _events(x1, "x1"), _events(x0, "x0")
    if first.shape != second.shape:
        raise InvalidInputError(
            field="x0", expected=f"{len(first)} entries, like x1", got=len(second), fix="give whole pairs"
        )
    if not len(first):
        return Advance(state=state, looks=np.empty(0, np.int64), log_capital=np.empty((0, len(state.epsilons))))
    looks = _schedule(state.n_pairs, len(first))
    outcomes = (first & ~second, first & second, ~first & second, ~first & ~second)
    grown = as_rows([state.cells]) + np.stack([np.cumsum(o)[looks - 1] for o in outcomes], axis=1)
    log_capital = _log_capital(state, grown)
    peak = np.maximum(log_capital.max(axis=0), state.log_peak)
    cells = Cells(**{f.name: int(k) for f, k in zip(fields(Cells), grown[-1], strict=True)})
    return Advance(
        state=replace(state, cells=cells, log_peak=tuple(map(float, peak))), looks=looks, log_capital=log_capital
    )


def bounds_of(log_peak: Floats, epsilons: Sequence[float], level: float) -> Floats:
    """Return lower bounds on epsilon, each valid at all times at once with probability at least 1 - level.

    Parameters
    ----------
    log_peak
        Logarithms of the highest capitals, shape (..., grid).
    epsilons
        The grid, in nats, increasing from 0.
    level
        In (0, 1).

    Returns
    -------
    numpy.ndarray
        Points of the grid, shape (...); 0 where not even the first is refuted.

    Raises
    ------
    ValueError
        For a level that is not positive.

    References
    ----------
    As :meth:`EProcess.bound`, for many rows.
    """
    refuted = log_peak >= threshold(level)
    run = np.logical_and.accumulate(refuted, axis=-1).sum(axis=-1)
    bounds: Floats = np.concatenate([[0.0], np.asarray(epsilons)])[run]
    return bounds


def threshold(level: float) -> float:
    """Return the logarithm of the capital that refutes at a level: log(1 / level), raised by the rounding.

    Raises
    ------
    ValueError
        For a level that is not positive.

    References
    ----------
    Ville's inequality, as for :class:`EProcess`.
    """
    return -math.log(level) + SAFETY


def log_mean_capital(log_capitals: Sequence[Floats], weights: Sequence[float]) -> Floats:
    """Return the logarithm of the weighted mean of capitals that were won on the same pairs: an e-process again.

    Parameters
    ----------
    log_capitals
        At least one, of one shape.
    weights
        Positive, one for each, fixed before the pairs; divided by their sum.

    Raises
    ------
    InvalidInputError
        For no capitals, or weights that are not one positive number for each.

    Notes
    -----
    A mean of e-processes for one null is an e-process for it, whatever their dependence. With each member's level as
    its weight, the mean refutes whenever a member refutes at its own level, and often earlier.

    References
    ----------
    Vovk, Wang 2021, "E-values: calibration, combination and applications", section 3 (arXiv:1912.06116).
    """
    shares = np.asarray(weights, dtype=np.float64)
    if not log_capitals or shares.shape != (len(log_capitals),) or not np.all(shares > 0):
        raise InvalidInputError(
            field="weights",
            expected=f"{max(len(log_capitals), 1)} positive, one for each capital",
            got=list(weights),
            fix="give the members' levels",
        )
    stacked = np.stack([np.asarray(c, dtype=np.float64) for c in log_capitals], axis=-1)
    return log_sum(stacked + np.log(shares / shares.sum()))


def epsilon_grid(claimed: float, top: float, size: int = 64) -> tuple[float, ...]:
    """Return a grid from 0 to ``top`` that holds the claimed epsilon, with a third of its points up to it.

    Parameters
    ----------
    claimed, top
        Finite, in nats. Unless the claim lies inside (0, ``top``), the grid has equal steps and the claim is added.
    size
        At most so many points, at least 3.
    """
    if not 0 < claimed < top:
        points = np.append(np.linspace(0, max(top, 1e-6), size - 1), max(claimed, 0.0))
    else:
        low = max(2, size // 3)
        # Steps grow beyond the claim: the question that matters is decided near it.
        above = claimed + (top - claimed) * np.linspace(0, 1, size - low + 1)[1:] ** 1.5
        points = np.concatenate([np.linspace(0, claimed, low)[:-1], [claimed], above])
    return tuple(map(float, np.unique(points)))


def _events(values: ArrayLike, field: str) -> NDArray[np.bool_]:
    array = np.atleast_1d(np.asarray(values))
    if array.ndim != 1 or not np.all((array == 0) | (array == 1)):
        raise InvalidInputError(
            field=field, expected="zeros and ones, shape (pairs,)", got=array.shape, fix="compare scores to a threshold"
        )
    return array.astype(bool)


def _schedule(seen: int, n: int) -> NDArray[np.int64]:
    """Return the looks within a batch; they depend on the number of pairs alone, apart from the batch's last."""
    counts = np.arange(seen + 1, seen + n + 1)
    step = 2 ** np.maximum(0, np.floor(np.log2(counts / LOOKS))).astype(np.int64)
    due = counts % step == 0
    due[-1] = True
    looks: NDArray[np.int64] = np.flatnonzero(due) + 1
    return looks


def _log_capital(state: EProcess, rows: Floats) -> Floats:
    """Return log capital for rows of cells, shape (rows, 4) -> (rows, grid)."""
    rates = log_rates(state.epsilons, state.delta)
    weights = log_weights(state.epsilons, state.delta, state.past)
    wealth = np.tensordot(rows, rates, axes=1) + weights
    return np.asarray(state.log_start) + log_sum(wealth)
