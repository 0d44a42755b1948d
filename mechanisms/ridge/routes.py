"""The three routes from per-step gaps to a certificate: published, repaired and uniform, each as data.

All of them bound the two chains by shifted interpolation on the event that no deleted gradient exceeds its bound,
an event of probability at least ``1 - delta_s``. They differ in whose gaps they use, in the contraction, and in what
they charge for the event. The exact route, which needs none of this, is in ``certificates``; ``RidgeRoutes`` has all.

References
----------
Benarroch, Atif, Cappe 2026 (arXiv:2602.15602); Bok, Su, Altschuler 2024 (arXiv:2403.00278).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtri

from mechanisms.accounting import gdp
from mechanisms.accounting.shifted_interpolation import gaussian_dp_mu
from mechanisms.claim import Certificate, Claim, Direction, PrivacyProfile, Provenance, Reference
from mechanisms.ridge.certificates import ExactRoute
from mechanisms.ridge.laws import RidgeLaws
from mechanisms.ridge.process import RidgeProcess
from mechanisms.ridge.sensitivity import PROOF_GAP, ResidualPaths, StepGaps

Array = NDArray[np.float64]
RouteName = Literal["published", "repaired", "uniform", "sure", "probable"]
REPAIR = (
    "Repaired: the learning chain is compared with one whose deleted gradients are clipped at their bounds. The two "
    "coincide except with probability delta_s, which is charged once for events under the unlearned law and "
    "e^epsilon times for events under the retrained law."
)
UNIFORM = (
    "Uniform: one certificate for every forget set of this size, from the largest gap over all records at each step. "
    "It depends on these data and says nothing about others."
)
LAST_ITERATE = "The last iterate alone is released."
# Every delta is raised by this share, a hundred times its numerical error.
ROUNDING = 1e-10
# Shares of delta that the sensitivity event may cost: 10^(-j/16). The search starts at these j, and further out only
# where all of these fail.
SHARE_STARTS = (4, 8, 16, 24, 32, 40, 48)
FAR_SHARE_STARTS = tuple(range(64, 641, 32))
# Rows of the certificate's table, in units of the headline epsilon.
PROFILE_GRID = np.concatenate([np.linspace(0.0, 2.0, 41), np.linspace(2.25, 4.0, 8)])


@dataclass(frozen=True, kw_only=True)
class Split:
    """One split of delta, and the epsilon that holds at delta with it.

    Parameters
    ----------
    epsilon
        In nats, at least 0; infinite when this split promises nothing at delta.
    mu
        GDP of the chains on the sensitivity event.
    delta_s
        Probability that the sensitivity event fails.
    """

    epsilon: float
    mu: float
    delta_s: float


class Chain(Protocol):
    """What a route needs to know of noisy learning steps and the unlearning steps after them."""

    @property
    def n_learn(self) -> int:
        """Learning steps."""
        ...

    @property
    def n_unlearn(self) -> int:
        """Unlearning steps."""
        ...

    @property
    def sigma_learn(self) -> float:
        """Standard deviation of the noise of a learning step."""
        ...

    @property
    def reference(self) -> Reference:
        """The reference world."""
        ...


class Gaps(Protocol):
    """Per-step gaps of the learning steps that hold together except with a probability."""

    @property
    def n_events(self) -> int:
        """How many events may fail; 0 where the gaps hold surely."""
        ...

    def at(self, delta_s: float) -> Array:
        """Return gaps, shape (T,), that hold together except with probability ``delta_s``."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class SensitivityRoute:
    """One deletion by one route; the unlearning noise is still free.

    Parameters
    ----------
    name, provenance
        Method and provenance of its certificates.
    assumptions
        What it rests on.
    inflated
        Whether delta_s costs ``e^epsilon delta_s`` in the direction from the retrained world (the repaired route).
    process
        The deletion; its own ``sigma_unlearn`` is not used.
    gaps
        Per-step gaps for every delta_s.
    contraction
        Lipschitz constant of one step, in (0, 1].
    delta
        Total delta of the certificate, in (0, 1).
    """

    name: RouteName
    provenance: Provenance
    assumptions: tuple[str, ...]
    inflated: bool
    process: Chain
    gaps: Gaps
    contraction: float
    delta: float

    def epsilon(self, sigma_unlearn: float) -> float:
        """Return an upper bound on epsilon at ``delta``, both directions, minimised over the split of delta."""
        return self.split(sigma_unlearn).epsilon

    def mu(self, delta_s: float, sigma_unlearn: float) -> float:
        """Return a GDP parameter of the two chains on the event that fails with probability ``delta_s``."""
        process = self.process
        return gaussian_dp_mu(
            contraction=self.contraction,
            gaps=np.concatenate([self.gaps.at(delta_s), np.zeros(process.n_unlearn)]),
            noises=np.repeat([process.sigma_learn, sigma_unlearn], [process.n_learn, process.n_unlearn]),
        )

    def at_split(self, delta_s: float, sigma_unlearn: float) -> Split:
        """Return what one split gives; every split is valid, the search only looks for a good one."""
        mu = self.mu(delta_s, sigma_unlearn)
        account = inflated_epsilon if self.inflated else additive_epsilon
        return Split(epsilon=account(mu, delta_s, self.delta), mu=mu, delta_s=delta_s)

    def split(self, sigma_unlearn: float) -> Split:
        """Return the best split at a noise, on a grid of shares 15 % apart."""
        if self.gaps.n_events == 0:
            return self.at_split(0.0, sigma_unlearn)

        def at(j: int) -> Split:
            return self.at_split(10 ** (-j / 16) * self.delta, sigma_unlearn)

        first = at(SHARE_STARTS[0])
        if math.isinf(first.mu):
            # A gap that no noise covers is one for every split.
            return first
        tried = lattice_search(at, starts=SHARE_STARTS)
        if math.isinf(tried.epsilon):
            tried = lattice_search(at, starts=FAR_SHARE_STARTS)
        return tried

    def certificate(self, sigma_unlearn: float, *, epsilon_without_unlearning: float) -> Certificate:
        """Return the certificate at a noise: a table with its own delta for each direction, rounded up."""
        split = self.split(sigma_unlearn)
        epsilons = np.array([0.0])
        scale = split.epsilon if split.epsilon > 0 else split.mu
        if 0 < scale < math.inf:
            epsilons = np.unique(np.append(scale * PROFILE_GRID, scale))
        claim = Claim(
            guarantee=profile(split, epsilons, inflated=self.inflated),
            reference=self.process.reference,
            provenance=self.provenance,
            assumptions=(
                *self.assumptions,
                f"Gradient sensitivities hold except with probability {split.delta_s:.2g}, which is part of every "
                f"delta; on that event the chains are {split.mu:.4g}-GDP, with contraction {self.contraction:.6g}.",
                LAST_ITERATE,
            ),
        )
        return Certificate(
            claim=claim,
            method=self.name,
            epsilon=split.epsilon,
            delta=self.delta,
            numerical_error=ROUNDING,
            epsilon_without_unlearning=epsilon_without_unlearning,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class RidgeRoutes:
    """The routes of one deletion, each built when it is first asked for (``uniform`` needs all records)."""

    process: RidgeProcess
    laws: RidgeLaws
    delta: float

    @cached_property
    def exact(self) -> ExactRoute:
        """The exact law of both worlds: no bound and no failure event."""
        return ExactRoute(process=self.process, laws=self.laws, delta=self.delta)

    @cached_property
    def published(self) -> SensitivityRoute:
        """The deleted records' own gaps, contraction ``1 - step_size * penalty``, and the published accounting."""
        return SensitivityRoute(
            name="published",
            provenance="published",
            assumptions=(PROOF_GAP,),
            inflated=False,
            process=self.process,
            gaps=self._own_gaps,
            contraction=self._worst_contraction,
            delta=self.delta,
        )

    @cached_property
    def repaired(self) -> SensitivityRoute:
        """The rigorous route: clipped comparison chain, and the contraction of the retained data's own curvature."""
        return self.make_repaired()

    def make_repaired(self, *, data_dependent_contraction: bool = True) -> SensitivityRoute:
        """Return the repaired route.

        Parameters
        ----------
        data_dependent_contraction
            Contract with the largest ``|1 - step_size * eig|`` of the retained data's curvature (legitimate, because
            the claim is about these data), or with the bound that the published route uses.
        """
        contraction, source = self._worst_contraction, "One step contracts by 1 - step_size * penalty."
        if data_dependent_contraction:
            largest = float(np.max(np.abs(self.laws.retained.contraction)))
            # Rounded up by more than the eigenvalues' rounding; 0 is allowed only as a limit.
            contraction = min(contraction, max(largest + 1e-13, 1e-9))
            source = "One step contracts by the largest |1 - step_size * eigenvalue| of the retained data's curvature."
        return SensitivityRoute(
            name="repaired",
            provenance="repaired",
            assumptions=(REPAIR, source),
            inflated=True,
            process=self.process,
            gaps=self._own_gaps,
            contraction=contraction,
            delta=self.delta,
        )

    @cached_property
    def uniform(self) -> SensitivityRoute:
        """The baseline: the largest gaps over all records, applied to everyone, with the published accounting."""
        process = self.process
        paths = ResidualPaths.of(process, self.laws.full, process.data)
        return SensitivityRoute(
            name="uniform",
            provenance="published",
            assumptions=(UNIFORM, PROOF_GAP),
            inflated=False,
            process=process,
            gaps=StepGaps(paths=paths, n_forget=process.deleted.n_records),
            contraction=self._worst_contraction,
            delta=self.delta,
        )

    @cached_property
    def _own_gaps(self) -> StepGaps:
        deleted = self.process.deleted
        paths = ResidualPaths.of(self.process, self.laws.full, deleted)
        return StepGaps(paths=paths, n_forget=deleted.n_records)

    @property
    def _worst_contraction(self) -> float:
        shrink, largest = 1 - self.process.step_size * self.process.penalty, self.laws.full.contraction
        # 1 - eta lambda for every eta <= 2 / (L + lambda); above that the other end of the spectrum binds.
        return max(shrink, float(np.max(np.abs(largest))))


def additive_epsilon(mu: float, delta_s: float, delta: float) -> float:
    """Return the smallest epsilon with ``delta_mu(epsilon) + delta_s <= delta``, rounded up; infinite if none.

    Parameters
    ----------
    mu
        GDP parameter, at least 0 or infinite; delta_mu is its profile.
    delta_s, delta
        Failure probability of the sensitivity event, and the total.
    """
    budget = delta * (1 - ROUNDING) - delta_s
    return gdp.epsilon(mu, budget) if budget > 0 else math.inf


def inflated_epsilon(mu: float, delta_s: float, delta: float) -> float:
    """Return the smallest epsilon with ``delta_mu(epsilon) + e^epsilon delta_s <= delta``, rounded up.

    Infinite when there is none: the sum is convex in e^epsilon and turns where ``Phi(-epsilon/mu - mu/2)`` equals
    delta_s, so the first crossing lies before that or does not exist.
    """
    target = math.log(delta * (1 - ROUNDING))
    if delta_s == 0 or math.isinf(mu):
        return gdp.epsilon(mu, delta * (1 - ROUNDING))
    turn = max(-mu * float(ndtri(delta_s)) - mu * mu / 2, 0.0)

    def excess(epsilon: float) -> tuple[float, float, float]:
        at = min(epsilon, turn)
        log_event, log_mechanism = at + math.log(delta_s), gdp.log_delta(mu, at)
        total = float(np.logaddexp(log_mechanism, log_event))
        tail = float(log_ndtr(-at / mu - mu / 2)) if mu > 0 else -math.inf
        slope = math.exp(log_event - total) - math.exp(at + tail - total)
        return total + gdp.LOG_DELTA_ERROR - target, slope, 2 * gdp.LOG_DELTA_ERROR

    if excess(0.0)[0] <= 0:
        return 0.0
    if excess(turn)[0] > 0:
        return math.inf
    return min(gdp.smallest_passing(excess, start=min(mu * mu / 2 + mu, turn)), turn)


def profile(split: Split, epsilons: Array, *, inflated: bool) -> PrivacyProfile:
    """Return delta(epsilon) of a split in both directions, every row rounded up.

    A delta that holds at one epsilon holds at every larger one, so rows never increase although
    ``e^epsilon delta_s`` does.
    """
    mechanism = np.asarray(gdp.log_delta(split.mu, epsilons))
    log_event = math.log(split.delta_s) if split.delta_s > 0 else -math.inf
    charged = {
        Direction.UNLEARNED_FROM_RETRAINED: np.full(len(epsilons), log_event),
        Direction.RETRAINED_FROM_UNLEARNED: log_event + epsilons if inflated else np.full(len(epsilons), log_event),
    }
    log_deltas = {}
    for direction, event in charged.items():
        total = np.logaddexp(mechanism, event) + ROUNDING / 2
        log_deltas[direction] = tuple(np.minimum(np.minimum.accumulate(total), 0.0).tolist())
    return PrivacyProfile(epsilons=tuple(epsilons.tolist()), log_deltas=log_deltas)


def lattice_search(at: Callable[[int], Split], *, starts: Sequence[int]) -> Split:
    """Return the best split at j >= 1 near the best of the starts: a walk in halving strides, exact for one valley."""
    known = {j: at(j) for j in starts}

    def key(j: int) -> float:
        if j not in known:
            known[j] = at(j)
        return known[j].epsilon

    best, stride = min(starts, key=key), 4
    while stride:
        better = min((j for j in (best - stride, best + stride) if j >= 1), key=key, default=best)
        if key(better) < key(best):
            best = better
        else:
            stride //= 2
    return known[best]
