"""The exact certificate of one deletion in milliseconds: everything that differs lies in a small Krylov space.

With ``A = I - step_size * H`` the step map on all data, ``A' = A + step_size X_S' X_S`` the one without the forget
set, and ``f(a) = sum of a^(2k) over k < T``, undoing the common map ``A'^K`` and whitening the retrained world by
``w(A')`` turns the two laws into

    P = N(w d, I + E),   Q = N(0, I),   E = sigma_learn^2 w (f(A) - f(A')) w,   d = the difference of learned means.

E and d vanish outside the block Krylov space of A and the deleted rows. :class:`KrylovSetup` diagonalises A once for a
data set, :func:`reduce_deletion` compresses to that space, and :class:`ReducedDeletion` answers for every unlearning
noise. What truncation leaves out is bounded, and every epsilon raised by more than that
(``mechanisms.ridge.reduced.bounded_pair``). ``mechanisms.ridge.privacy_map`` runs this for all records; the dense
route in ``mechanisms.ridge.langevin`` is the oracle of the tests.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mechanisms.accounting.gaussian_pair import GaussianPair
from mechanisms.dataset import Dataset, validate_forget
from mechanisms.errors import InvalidInputError, require
from mechanisms.reading.scalars import whole_number
from mechanisms.ridge.laws import StepMap, geometric_sum, signed_power
from mechanisms.ridge.process import check_settings
from mechanisms.ridge.reduced.bounded_pair import BoundedPair
from mechanisms.ridge.reduced.lanczos import BlockLanczos, divided_differences, lengths, power_sum

Array = NDArray[np.float64]

UNIT = 2.0**-53
# A first size of the space for each deleted record, and the factor by which it grows while the error is too large.
FIRST_SIZE, GROWTH = 24, 1.25
# The truncation error that is aimed at, as a share of what differs between the two worlds.
DEFAULT_TOLERANCE = 1e-12
# Errors below these multiples of the tolerated one may be as small as rounding lets them be: when growing does not
# help, and when the leak is less than the third number of them.
STALLED, NEARLY, VANISHED = 1e4, 20.0, 1e-4
# Rounding: as a share of the whitened f(A), and of the result for each step that powers of A are raised to.
ROUNDING, ROUNDING_PER_STEP = 32 * UNIT, 32 * UNIT
# Differences between the worlds of less than this are none.
VANISHING = 1e-60
# Where in each gap between nodes the residual of the whitening is evaluated, and what its largest value is raised by.
PROBES, PROBE_SAFETY, CLEARANCE = np.array([0.02, 0.2, 0.5, 0.8, 0.98]), 2.0, 1e-4
# The same where w falls to 0, in units of the width of that fall.
FALL = np.linspace(-4.0, 4.0, 33)


@dataclass(frozen=True, kw_only=True, eq=False)
class KrylovSetup:
    """What every deletion from one data set shares; build it with :meth:`of`.

    Parameters
    ----------
    data
        D.
    step
        The step map on D in the eigenbasis of its curvature.
    moment
        X'Y in that basis, shape (p, q).
    penalty, step_size, n_learn, n_unlearn, sigma_learn
        As in ``RidgeProcess``; W starts at 0.
    """

    data: Dataset
    step: StepMap
    moment: Array
    penalty: float
    step_size: float
    n_learn: int
    n_unlearn: int
    sigma_learn: float

    @staticmethod
    def of(
        data: Dataset,
        *,
        penalty: float,
        n_learn: int,
        n_unlearn: int,
        sigma_learn: float,
        step_size: float | None = None,
    ) -> KrylovSetup:
        """Return the set-up for a data set, O(n p^2).

        Parameters
        ----------
        penalty, n_learn, n_unlearn, sigma_learn
            As in ``RidgeProcess``.
        step_size
            1 / lambda_max(X'X + penalty I) by default.

        Raises
        ------
        InvalidInputError
            For a value out of range, or a step size that diverges.
        """
        check_settings(penalty=penalty, n_learn=n_learn, n_unlearn=n_unlearn, sigma_learn=sigma_learn)
        compressed = same_products(data)
        smoothness = float(np.linalg.norm(compressed.features, 2)) ** 2 + penalty
        if step_size is not None and not 0 < step_size < 2 / smoothness:
            raise InvalidInputError(
                field="step_size",
                expected=f"in (0, {2 / smoothness:.6g}) = (0, 2/L) for these data",
                got=step_size,
                fix="lower it, or leave it out for 1/L",
            )
        eta = 1 / smoothness if step_size is None else step_size
        step = StepMap.of(compressed, penalty=penalty, step_size=eta)
        return KrylovSetup(
            data=replace(data, held_out=None),
            step=step,
            moment=step.basis.T @ (compressed.features.T @ compressed.targets),
            penalty=penalty,
            step_size=eta,
            n_learn=n_learn,
            n_unlearn=n_unlearn,
            sigma_learn=sigma_learn,
        )

    def project(self, records: Sequence[int] | NDArray[np.intp]) -> Array:
        """Return the features of records in the eigenbasis, shape (records, p); one matrix product for all."""
        return np.asarray(self.data.features[np.asarray(records, dtype=np.intp)] @ self.step.basis)

    def difficulty(self, records: Sequence[int] | NDArray[np.intp], projected: Array) -> Array:
        """Return |r_i| sqrt(h_i / (1 - h_i)) for records: residual and leverage of the ridge fit."""
        curvature = (1 - self.step.contraction) / self.step_size
        leverage = np.sum(projected**2 / curvature, axis=1)
        chosen = np.asarray(records, dtype=np.intp)
        fitted = self.data.features[chosen] @ self.step.optimum
        residual = np.linalg.norm(fitted - self.data.targets[chosen], axis=1)
        return np.asarray(residual * np.sqrt(leverage / np.maximum(1 - leverage, 1e-300)))


@dataclass(frozen=True, kw_only=True, eq=False)
class ReducedDeletion:
    """One deletion in the eigenbasis of the compressed A'; every unlearning noise is answered from here.

    Parameters
    ----------
    nodes
        Eigenvalues of the compressed A', shape (r,); r = 0 when the deleted rows are zero.
    change, shift
        ``f(A) - f(A')`` and d in that eigenbasis, shapes (r, r) and (r, q).
    edge
        The residual ``A' Q - Q T'`` in that eigenbasis: rows are the directions that truncation left out.
    change_leak, shift_leak
        Bounds on what truncation takes from ``f(A) - f(A')`` and from d, Frobenius norms.
    spectrum
        An interval that holds the eigenvalues of A and of A'.
    n_learn, n_unlearn, sigma_learn
        As in ``RidgeProcess``.
    earlier
        Steps and noise of the requests of a stream before this one. With any, ``change`` is what the covariances differ
        by before the last phase, noise and all, and ``shift`` what the means differ by.
    """

    nodes: Array
    change: Array
    shift: Array
    edge: Array
    change_leak: float
    shift_leak: float
    spectrum: tuple[float, float]
    n_learn: int
    n_unlearn: int
    sigma_learn: float
    earlier: tuple[tuple[int, float], ...] = ()
    # By noise: who chooses a size looks at the pair that is asked for next.
    _pairs: dict[float, BoundedPair] = field(default_factory=dict, init=False, repr=False)

    @property
    def n_steps(self) -> int:
        """Steps in all, of learning and of every phase."""
        return self.n_learn + sum(n for n, _ in self.earlier) + self.n_unlearn

    @property
    def _unit(self) -> float:
        """What ``change`` is to be multiplied by."""
        return 1.0 if self.earlier else self.sigma_learn**2

    @property
    def size(self) -> int:
        """Dimension r of the space."""
        return len(self.nodes)

    def pair(self, sigma_unlearn: float) -> GaussianPair:
        """Return the best value of the pair (unlearned, retrained), reference ``retrain_then_unlearn``."""
        return self.bounded_pair(sigma_unlearn).pair

    def pair_without_unlearning(self) -> GaussianPair:
        """Return the best value of the pair A(D) against A(D minus S): what the learning noise alone gives."""
        return self.bounded_pair(0.0).pair

    def epsilon(self, delta: float, sigma_unlearn: float) -> float:
        """Return the larger of the two directions' epsilon at ``delta``, rounded up by more than every error."""
        return self.bounded_pair(sigma_unlearn).epsilon(delta)

    def bounded_pair(self, sigma_unlearn: float) -> BoundedPair:
        """Return the pair with bounds on its error.

        Parameters
        ----------
        sigma_unlearn
            At least 0. At 0, or with no unlearning steps, the pair without unlearning: A' is generically invertible
            and the divergence then is the same (data processing gives "at most" when A' is singular).

        Raises
        ------
        InvalidInputError
            When the noise is negative or not finite.

        Notes
        -----
        With M = w(A') Q - Q w(T'), the whitened change is in error by the leak, times w twice, plus at most
        ``4 |w| |M change|``. A column of ``M y`` is a function of A', the divided differences of w at the nodes,
        applied to the left-out directions, hence at most its supremum over the spectrum, which is taken on a grid.
        """
        if not (sigma_unlearn >= 0 and math.isfinite(sigma_unlearn)):
            raise InvalidInputError(
                field="sigma_unlearn", expected="at least 0 and finite", got=sigma_unlearn, fix="give a noise"
            )
        sigma = sigma_unlearn if self.n_unlearn > 0 else 0.0
        if sigma not in self._pairs:
            self._pairs[sigma] = self._bounded(sigma)
        return self._pairs[sigma]

    def _bounded(self, sigma: float) -> BoundedPair:
        widest = self.widest(sigma)
        if self.size == 0 or math.isinf(widest):
            return self._without_noise()
        w, variance = self._whiten(sigma, self.nodes), self._unit
        difference = variance * (w[:, None] * self.change * w)
        values, vectors = np.linalg.eigh((difference + difference.T) / 2)
        shift = vectors.T @ (w[:, None] * self.shift)
        floor = ROUNDING * float(np.max(w**2 * self._before(self.nodes)))
        # Ratios that are 1 up to rounding share one coordinate: c = 1 exactly, with all their shift.
        order = np.argsort(np.abs(values))
        n_ones = int(np.sum(np.cumsum(values[order] ** 2) <= floor**2))
        ones, kept, squared = order[:n_ones], order[n_ones:], np.sum(shift**2, axis=1)
        change_residual, shift_residual = self._residuals(sigma)
        # Below this squares vanish: what is left is charged, and counts as nothing.
        tiny = float(np.linalg.norm(values)) + float(np.linalg.norm(shift))
        if tiny < VANISHING:
            change_residual, shift_residual = change_residual + tiny, shift_residual + tiny
            kept, squared = kept[:0], np.zeros_like(squared)
        steps = ROUNDING_PER_STEP * self.n_steps
        # Ratios are rounded next to 1 as well, however small what differs is.
        stored = 2 * UNIT * math.sqrt(len(values)) * max(1.0, 1 + float(values.max()))
        rounding = 2 * floor + steps * float(np.linalg.norm(values)) + stored
        return BoundedPair(
            pair=GaussianPair(
                # Far too small a space leaves values below -1 by rounding; the error is then infinite anyway.
                variance_ratios=np.append(np.maximum(1 + values[kept], UNIT), 1.0),
                squared_shifts=np.append(squared[kept], np.sum(squared[ones])),
                n_columns=shift.shape[1],
            ),
            change_error=variance * widest * (widest * self.change_leak + 4 * change_residual) + rounding,
            shift_error=widest * self.shift_leak + shift_residual + steps * float(np.linalg.norm(shift)),
        )

    def _before(self, a: Array) -> Array:
        """Return the variances of the retrained world before the last phase; they grow with ``|a|``."""
        return variance_after(a, self.n_learn, self.sigma_learn, self.earlier)

    def widest(self, sigma: float) -> float:
        """Return a bound on \\|w\\| over the spectrum."""
        if not self.earlier:
            return 1 / max(self.sigma_learn, sigma) if max(self.sigma_learn, sigma) > 0 else math.inf
        low, high = self.spectrum
        nearest = 0.0 if low <= 0 <= high else min(abs(low), abs(high))
        least = max(float(self._before(np.full(1, nearest))[0]), sigma**2)
        return 1 / math.sqrt(least) if least > 0 else math.inf

    def _whiten(self, sigma: float, a: Array) -> Array:
        """Return w(a)."""
        return whitening(a, self._before(a), self.n_unlearn, sigma)

    def _residuals(self, sigma: float) -> tuple[float, float]:
        """Return bounds on |M change| and |M shift|, Frobenius norms."""
        if not np.any(self.edge):
            return 0.0, 0.0
        slopes = divided_differences(partial(self._whiten, sigma), self._probes(sigma), self.nodes, self.n_steps)
        totals = np.zeros(2)
        for direction in self.edge:
            rows = slopes * direction
            totals += [float(np.max(np.linalg.norm(rows @ block, axis=1))) for block in (self.change, self.shift)]
        return PROBE_SAFETY * float(totals[0]), PROBE_SAFETY * float(totals[1])

    def _probes(self, sigma: float) -> Array:
        """Return points of the spectrum: in every gap between nodes, and close together where w falls to 0."""
        low, high = min(self.spectrum[0], self.nodes[0]), max(self.spectrum[1], self.nodes[-1])
        ends = np.concatenate([[low], self.nodes, [high]])
        gaps = (ends[:-1, None] + np.diff(ends)[:, None] * PROBES).ravel()
        # Next to a node the divided differences are rounding errors, and the residual is smooth on this scale.
        from_below = np.searchsorted(ends, gaps)
        room = np.minimum(gaps - ends[from_below - 1], ends[np.minimum(from_below, len(ends) - 1)] - gaps)
        gaps = gaps[room > CLEARANCE * (1 - np.abs(gaps) + 1 / self.n_steps)]
        if self.earlier:
            return np.concatenate([gaps, *self._falls(sigma, low, high)])
        if sigma == 0 or self.sigma_learn == 0:
            return np.asarray(gaps)
        # There a^(2K) times the learned variance equals the unlearning one, within a share 1/K of a.
        middle = math.log(sigma / self.sigma_learn) / self.n_unlearn
        at = np.full(1, math.exp(min(middle, 0.0)))
        ratio = geometric_sum(at, self.n_unlearn) / geometric_sum(at, self.n_learn)
        middle += 0.5 * math.log(float(ratio[0])) / self.n_unlearn
        fall = np.exp(np.minimum(middle + FALL / self.n_unlearn, 0.0))
        fall = np.concatenate([fall, -fall])
        return np.concatenate([gaps, fall[(fall > low) & (fall < high)]])

    def _falls(self, sigma: float, low: float, high: float) -> list[Array]:
        """Return points where what one phase leaves of the variance before it equals what it adds, for each phase."""
        found = []
        phases = [*self.earlier, (self.n_unlearn, sigma)]
        for i, (n, noise) in enumerate(phases):
            logs = np.linspace(-40.0, 0.0, 201) / n
            a = np.exp(logs)
            before = variance_after(a, self.n_learn, self.sigma_learn, tuple(phases[:i]))
            with np.errstate(divide="ignore"):
                gap = 2 * n * logs + np.log(before) - np.log(noise**2 * geometric_sum(a, n))
            crossed = np.flatnonzero((gap[:-1] < 0) & (gap[1:] >= 0))
            for at in crossed[-1:]:
                fall = np.exp(np.minimum(logs[at] + FALL / n, 0.0))
                fall = np.concatenate([fall, -fall])
                found.append(fall[(fall > low) & (fall < high)])
        return found

    def _without_noise(self) -> BoundedPair:
        """Return identical worlds, or disjoint ones: no noise, or nothing deleted."""
        # On a stream without noise before its end covariances may differ that vanish in some direction.
        differ = bool(np.any(self.shift != 0) or (self.earlier and np.any(self.change != 0)))
        pair = GaussianPair(
            variance_ratios=np.ones(1), squared_shifts=np.full(1, math.inf if differ else 0.0), n_columns=1
        )
        return BoundedPair(pair=pair, change_error=0.0, shift_error=0.0)


def reduce_deletion(
    setup: KrylovSetup,
    forget: Sequence[int],
    *,
    sigma_unlearn: float = 0.0,
    size: int | None = None,
    tolerance: float = DEFAULT_TOLERANCE,
    projected: Array | None = None,
) -> ReducedDeletion:
    """Return one deletion compressed to a Krylov space that is large enough.

    Parameters
    ----------
    setup
        Of the data set.
    forget
        One record or several; duplicate rows are deflated.
    sigma_unlearn
        A noise at which the error is looked at, next to that without unlearning, when the size is chosen. The result
        answers for every noise, with its error.
    size
        Dimension of the space, instead of choosing one; the error is whatever it is.
    tolerance
        Truncation error to aim at, as a share of what differs between the worlds.
    projected
        ``setup.project(forget)`` when it is known already.

    Raises
    ------
    InvalidInputError
        As :func:`reduce_with_pairs`.
    """
    return reduce_with_pairs(
        setup, forget, sigma_unlearn=sigma_unlearn, size=size, tolerance=tolerance, projected=projected
    )[0]


def reduced_pair(
    setup: KrylovSetup, forget: Sequence[int], sigma_unlearn: float, *, size: int | None = None
) -> tuple[BoundedPair, BoundedPair]:
    """Return the pair after unlearning (reference ``retrain_then_unlearn``) and the pair without unlearning.

    Each carries bounds on its error, and epsilons that are on the safe side of it; ``.pair`` is the best value.
    """
    _, after, before = reduce_with_pairs(setup, forget, sigma_unlearn=sigma_unlearn, size=size)
    return after, before


def reduce_with_pairs(
    setup: KrylovSetup,
    forget: Sequence[int],
    *,
    sigma_unlearn: float,
    size: int | None = None,
    first_size: int | None = None,
    tolerance: float = DEFAULT_TOLERANCE,
    projected: Array | None = None,
) -> tuple[ReducedDeletion, BoundedPair, BoundedPair]:
    """Return what :func:`reduce_deletion` returns, and the pairs with and without unlearning that it looked at.

    Parameters
    ----------
    setup, forget, sigma_unlearn, size, tolerance, projected
        As for :func:`reduce_deletion`.
    first_size
        Where to start growing, at least 1, when something is known about it.

    Raises
    ------
    InvalidInputError
        For a forget set out of range, a size that is no whole number of at least 1, or a noise that is negative or not
        finite.
    """
    records = validate_forget(forget, setup.data.n_records)
    if not 0 <= sigma_unlearn < math.inf:
        raise InvalidInputError(
            field="sigma_unlearn", expected="finite and at least 0", got=sigma_unlearn, fix="0 is no unlearning noise"
        )
    if size is not None:
        size = whole_number(size, "size", fix="leave it out for a chosen size")
        require(size >= 1, "size", expected="at least 1", got=size, fix="leave it out for a chosen size")
    rows = setup.project(records) if projected is None else projected
    targets = setup.data.targets[list(records)]
    return reduce_rows(
        setup, rows, targets, sigma_unlearn=sigma_unlearn, size=size, first_size=first_size, tolerance=tolerance
    )


def reduce_rows(
    setup: KrylovSetup,
    rows: Array,
    targets: Array,
    *,
    sigma_unlearn: float,
    size: int | None = None,
    first_size: int | None = None,
    tolerance: float = DEFAULT_TOLERANCE,
) -> tuple[ReducedDeletion, BoundedPair, BoundedPair]:
    """Return what :func:`reduce_with_pairs` returns, for deleted records that are given themselves.

    Parameters
    ----------
    setup, sigma_unlearn, size, first_size, tolerance
        As for :func:`reduce_with_pairs`, in range.
    rows, targets
        Features in the eigenbasis and targets of the deleted records, shapes (m, p) and (m, q).
    """
    krylov = BlockLanczos(setup.step.contraction, rows)
    wanted = size or first_size or FIRST_SIZE * max(1, krylov.block)
    strength = setup.step_size * krylov.norm**2 * setup.n_learn
    best: tuple[float, ReducedDeletion, BoundedPair, BoundedPair] | None = None
    while True:
        krylov.extend(wanted)
        leaks = krylov.leaks(setup.step_size, 2 * setup.n_learn)
        final = krylov.exhausted or size is not None
        if final or leaks[0] <= 10 * tolerance * strength:
            reduced = _compress(setup, krylov, targets, leaks)
            before = reduced.bounded_pair(0.0)
            after = reduced.bounded_pair(sigma_unlearn) if sigma_unlearn > 0 else before
            excess = max(excess_of(at, reduced.n_steps, tolerance) for at in {before, after})
            last, best = best, (excess, reduced, after, before)
            if final or excess <= 1:
                break
            # What is left may be the rounding of the bound itself, and growing in vain: it stopped falling, or the
            # part that falls with the size, come what may, is nothing next to it.
            if last is not None and last[0] < STALLED and excess > last[0] / 2:
                best = min(last, best, key=lambda found: found[0])
                break
            if excess <= NEARLY and leaks[0] <= VANISHED * after.change_error:
                break
        wanted = math.ceil(GROWTH * krylov.size)
    return best[1:]


def excess_of(at: BoundedPair, n_steps: int, tolerance: float) -> float:
    """Return the truncation error as a multiple of what is tolerated: a share of what differs, or rounding."""
    differs = np.linalg.norm(at.pair.variance_ratios - 1) + math.sqrt(float(np.sum(at.pair.squared_shifts)))
    steps = ROUNDING_PER_STEP * n_steps
    allowed = 2 * ROUNDING + (tolerance + 2 * steps) * float(differs)
    return max(at.change_error, at.shift_error) / allowed


def _compress(setup: KrylovSetup, krylov: BlockLanczos, targets: Array, leaks: tuple[float, float]) -> ReducedDeletion:
    """Return the compressed deletion: functions of A and A' by divided differences between their eigenvalues.

    Differences ``f(A) - f(A')`` are never formed by subtraction: in the two eigenbases they are the divided
    differences of f times ``A - A'``, which keeps small ones accurate.
    """
    eta, t = setup.step_size, setup.n_learn
    full, without = krylov.compressed(eta)
    values, vectors = np.linalg.eigh(full)
    nodes, rotation = np.linalg.eigh(without)
    b = len(krylov.factor)
    into_full, into_without = vectors[:b].T @ krylov.factor, rotation[:b].T @ krylov.factor
    change = eta * (into_without @ into_full.T)
    moment = vectors.T @ (krylov.rows[: krylov.size] @ setup.moment)
    direct = power_sum(nodes, t)[:, None] * (into_without @ targets)
    through = (change * divided_differences(partial(power_sum, n=t), nodes, values, t)) @ moment
    moment_norm, target_norm = float(lengths(setup.moment.ravel())), float(lengths(targets.ravel()))
    # A small residual is what is left of a fitted value and a target.
    cancelled = ROUNDING * float(np.linalg.norm(direct) + np.linalg.norm(through))
    # Deflation moved X_S by ``dropped``, hence A' by at most this, f(A') by T^2 and sum of A'^k by T^2 / 2 times it.
    moved = 3 * eta * krylov.norm * krylov.dropped
    moved_shift = t * krylov.dropped * target_norm + moved * t**2 / 2 * (moment_norm + krylov.norm * target_norm)
    return ReducedDeletion(
        nodes=nodes,
        change=-(change * divided_differences(partial(geometric_sum, n=t), nodes, values, t)) @ (vectors.T @ rotation),
        shift=eta * (direct - through),
        edge=krylov.coupling @ rotation[krylov.size - krylov.coupling.shape[1] :],
        change_leak=leaks[0] + moved * t**2,
        shift_leak=eta
        * (leaks[0] * moment_norm / 2 + krylov.norm * leaks[1] * t * target_norm + cancelled + moved_shift),
        spectrum=(float(setup.step.contraction.min()), 1 - eta * setup.penalty),
        n_learn=t,
        n_unlearn=setup.n_unlearn,
        sigma_learn=setup.sigma_learn,
    )


def whitening(a: Array, learned: Array, n_unlearn: int, sigma: float | Array) -> Array:
    """Return w(a), ``learned`` being the variances before the last phase; the sign of a^K makes w smooth at 0.

    Parameters
    ----------
    sigma
        0, or positive and broadcast with ``a``.
    """
    if np.ndim(sigma) == 0 and sigma == 0:
        return np.asarray(1 / np.sqrt(learned))
    power = signed_power(a, n_unlearn)
    return np.asarray(power / np.sqrt(power**2 * learned + np.square(sigma) * geometric_sum(a, n_unlearn)))


def variance_after(a: Array, n_learn: int, sigma_learn: float, phases: Sequence[tuple[int, float]]) -> Array:
    """Return variances of a chain with one step map of eigenvalues ``a``, after learning and phases (steps, noise)."""
    variance = sigma_learn**2 * geometric_sum(a, n_learn)
    for n, sigma in phases:
        variance = signed_power(a, n) ** 2 * variance + sigma**2 * geometric_sum(a, n)
    return np.asarray(variance)


def same_products(data: Dataset) -> Dataset:
    """Return a data set with the same X'X and X'Y and no more rows than columns: the triangular factor of [X, Y]."""
    n, p = data.features.shape
    columns = p + data.targets.shape[1]
    if n <= 2 * columns:
        return data
    triangle: Array = np.asarray(np.linalg.qr(np.hstack([data.features, data.targets]), mode="r"))[:p]
    return Dataset(name=data.name, features=triangle[:, :p], targets=triangle[:, p:], kind=data.kind)
