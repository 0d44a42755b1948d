"""The exact certificate of a ridge deletion: its two laws are Gaussian, so there is no bound and no failure event."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mechanisms.accounting.calibration import far_too_little
from mechanisms.accounting.gaussian_pair import RELATIVE_ERROR, GaussianPair
from mechanisms.claim import BOTH_DIRECTIONS, Certificate, Claim, PrivacyProfile, Reference
from mechanisms.protocol import World
from mechanisms.ridge.laws import RidgeLaws
from mechanisms.ridge.process import RidgeProcess
from mechanisms.ridge.reduced.bounded_pair import BoundedPair
from mechanisms.ridge.reduced.krylov import KrylovSetup, reduce_rows

Array = NDArray[np.float64]
# Log odds that cover every delta that is a number.
_FARTHEST_ODDS = 800.0
# Unit roundoffs that forming p x p laws may cost, for each unit of dimension and of condition number.
_ROUNDING_OF_LAWS = 16 * 2.0**-53
# Noise below this share of the released numbers is spread over fewer than 2^10 of them.
_PRECISE = 2.0**-43
NO_STEPS = "No unlearning step is taken (n_unlearn = 0): this is what the learning noise alone gives."
ESTIMATED = (
    "The rounding of the laws is charged by an estimate: 16 unit roundoffs for each unit of their dimension and "
    "condition number."
)


@dataclass(frozen=True, kw_only=True, eq=False)
class ExactRoute:
    """The exact epsilon of one deletion at any unlearning noise.

    Parameters
    ----------
    process
        The deletion; its unlearning noise is not looked at.
    laws
        Of the same deletion.
    delta
        Of the headline epsilon, in (0, 1).

    Notes
    -----
    For ``RETRAIN_THEN_UNLEARN`` from the compressed deletion (``mechanisms.ridge.reduced.krylov``), which forms only
    what differs between the worlds: means that are large against the noise do not cancel there, and what rounding and
    truncation can do is bounded and added. ``RETRAIN_ONLY`` has no such form and compares p x p laws.
    """

    process: RidgeProcess
    laws: RidgeLaws
    delta: float

    def epsilon(self, sigma_unlearn: float) -> float:
        """Return the larger of the two directions' epsilon at ``delta``, rounded up by more than every error."""
        return self._pairs(sigma_unlearn)[0].epsilon(self.delta)

    def certificate(self, sigma_unlearn: float) -> Certificate:
        """Return the whole privacy profile at a noise, both directions, rounded up."""
        pair, before = self._pairs(sigma_unlearn)
        headline = pair.epsilons(self.delta)
        epsilon = max(headline)
        assumptions = (
            "The noise is Gaussian and independent across steps.",
            "The last iterate alone is released.",
            *([NO_STEPS] if self.process.n_unlearn == 0 and self._then_unlearns else []),
            *far_too_little(epsilon),
            *_precision(self.laws.with_noise(sigma_unlearn)),
            *([] if self._then_unlearns else [ESTIMATED]),
        )
        claim = Claim(
            guarantee=profile_of(pair, headline, self.delta),
            reference=self.laws.reference,
            provenance="exact",
            directions=BOTH_DIRECTIONS,
            assumptions=assumptions,
        )
        raised = pair.error(self.delta, epsilon) / epsilon if 0 < epsilon < np.inf else 0.0
        return Certificate(
            claim=claim,
            method="exact",
            epsilon=epsilon,
            delta=self.delta,
            numerical_error=RELATIVE_ERROR + raised,
            epsilon_without_unlearning=before.epsilon(self.delta),
        )

    def _pairs(self, sigma_unlearn: float) -> tuple[BoundedPair, BoundedPair]:
        """Return the pairs with and without unlearning, each with its error."""
        if not self._then_unlearns:
            laws = self.laws.with_noise(sigma_unlearn)
            return _dense(laws, exact_pair(laws)), _dense(laws, pair_without_unlearning(laws))
        sigma = sigma_unlearn if self.process.n_unlearn > 0 else 0.0
        rows = self.process.deleted.features @ self.laws.full.basis
        return reduce_rows(self._setup, rows, self.process.deleted.targets, sigma_unlearn=sigma)[1:]

    @property
    def _then_unlearns(self) -> bool:
        return self.laws.reference is Reference.RETRAIN_THEN_UNLEARN

    @cached_property
    def _setup(self) -> KrylovSetup:
        process, step = self.process, self.laws.full
        return KrylovSetup(
            data=process.data,
            step=step,
            moment=step.basis.T @ (process.data.features.T @ process.data.targets),
            penalty=process.penalty,
            step_size=process.step_size,
            n_learn=process.n_learn,
            n_unlearn=process.n_unlearn,
            sigma_learn=process.sigma_learn,
        )


def exact_pair(laws: RidgeLaws) -> GaussianPair:
    """Return the pair (unlearned, retrained) from p x p laws, whose rounding no value of the pair knows of.

    Without unlearning noise both covariances are numerically singular (A'^(2K)); A' is generically invertible and
    the divergence then equals that of the models before the unlearning steps (data processing gives "at most" when
    A' is singular), so those well-conditioned laws are used.
    """
    then_unlearn = laws.reference is Reference.RETRAIN_THEN_UNLEARN
    if then_unlearn and (laws.sigma_unlearn == 0 or laws.n_unlearn == 0):
        return pair_without_unlearning(laws)
    return GaussianPair.from_laws(laws.law(World.UNLEARNED), laws.law(World.RETRAINED))


def pair_without_unlearning(laws: RidgeLaws) -> GaussianPair:
    """Return the pair A(D) against A(D minus S): what the learning noise gives without a single unlearning step."""
    return GaussianPair.from_laws(laws.learned(World.UNLEARNED), laws.learned(World.RETRAINED))


def two_sided_epsilon(pair: GaussianPair, delta: float) -> float:
    """Return the larger of the two directions' epsilon at ``delta``, rounded up."""
    return max(pair.epsilon(delta), pair.reversed().epsilon(delta))


def _precision(laws: RidgeLaws) -> tuple[str, ...]:
    """Return a warning when the noise of a release drowns in the rounding of its numbers.

    Without unlearning noise there is nothing to warn of: the steps then map the learned model in both worlds alike.
    """
    step, sigma = laws.retained, laws.sigma_unlearn
    learned = (laws.sigma_learn * step.power(laws.n_unlearn)) ** 2 * step.noise(laws.n_learn)
    noise = float(np.sqrt(np.min(learned + sigma**2 * step.noise(laws.n_unlearn))))
    size = float(np.abs(laws.law(World.UNLEARNED).mean).max())
    if sigma == 0 or laws.n_unlearn == 0 or noise > _PRECISE * size:
        return ()
    return (
        f"In some direction a release has noise of {noise:.1e}, beside numbers of {size:.1e}: less than double "
        "precision can hold. The certificate is about real numbers, and rounded releases do not have its law. With "
        "fewer unlearning steps or a smaller step size more noise is needed.",
    )


def _dense(laws: RidgeLaws, pair: GaussianPair) -> BoundedPair:
    """Return a pair from p x p laws, with an estimate of what rounding did to them where Q is N(0, I)."""
    retrained = laws.learned(World.RETRAINED)
    spread = np.sqrt(np.diag(retrained.covariance))
    if pair.disjoint or pair.identical or not np.all(spread > 0):
        return BoundedPair(pair=pair, change_error=0.0, shift_error=0.0)
    values = np.linalg.eigvalsh(retrained.covariance / np.outer(spread, spread))
    smallest = max(float(values[0]), float(np.finfo(np.float64).tiny))
    unit = _ROUNDING_OF_LAWS * len(spread)
    largest_mean = max(np.abs(laws.law(world).mean).max() for world in (World.UNLEARNED, World.RETRAINED))
    return BoundedPair(
        pair=pair,
        change_error=unit * float(values[-1]) / smallest * max(1.0, float(pair.variance_ratios.max(initial=1.0))),
        shift_error=unit * float(largest_mean / spread.min()) / smallest**0.5,
    )


def profile_of(pair: BoundedPair, headline: tuple[float, float], delta: float) -> PrivacyProfile:
    """Return the pair's table, with rows that show the headline epsilons and what is certain beyond the pair's error.

    Each row is the better of two bounds: one follows its own delta, one is sharp near the headline's.
    """
    finite = [epsilon for epsilon in headline if np.isfinite(epsilon)]
    certain = float(pair.slack(_FARTHEST_ODDS))
    # Where the pair's own epsilons are not far above its error, they say nothing.
    beyond = np.geomspace(certain / 256, 4 * certain, 24) if max(headline) / 10 < certain < np.inf else np.empty(0)
    grid = np.unique(np.concatenate([pair.pair.profile().epsilons, finite, beyond]))
    log_deltas = {}
    rows = zip(pair.log_deltas(grid), pair.log_deltas(grid, floor=float(np.log(delta))), strict=True)
    for direction, epsilon, (following, near) in zip(BOTH_DIRECTIONS, headline, rows, strict=True):
        row = np.minimum(following, near)
        row = np.where(grid >= epsilon, np.minimum(row, np.log(delta)), row)
        log_deltas[direction] = tuple(np.minimum.accumulate(row).tolist())
    return PrivacyProfile(epsilons=tuple(grid.tolist()), log_deltas=log_deltas)
