"""Ridge regression by noisy steps on minibatches of a fixed public schedule, with exact certificates.

The batch of step k is ``B_k``, drawn from all records before anything else and published; deleted records are dropped
from it, and the scale n/b stays what it was. With ``A_k = I - step_size ((n/b) X_B' X_B + penalty I)`` every iterate is
Gaussian, its moments by recursion; no small space holds what differs, so that laws are compared in full.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mechanisms.accounting.calibration import far_too_little, round_up_to_grid
from mechanisms.accounting.gaussian_pair import RELATIVE_ERROR, GaussianPair
from mechanisms.claim import BOTH_DIRECTIONS, Certificate, Claim, Reference
from mechanisms.dataset import Dataset, matrices, validate_forget
from mechanisms.errors import InvalidInputError, require
from mechanisms.protocol import GaussianLaw, ReleaseSpec, World
from mechanisms.ridge.certificates import NO_STEPS, profile_of
from mechanisms.ridge.langevin import DEFAULT_DELTA, SMALLEST_DELTA, CalibratedNoise, smallest_unlearning_noise
from mechanisms.ridge.process import check_settings
from mechanisms.ridge.reduced.bounded_pair import BoundedPair

Array = NDArray[np.float64]
# Unit roundoffs that the recursion and the comparison of laws may cost, for each dimension, step and unit of condition.
_ROUNDING = 16 * 2.0**-53
ASSUMPTIONS = (
    "The noise is Gaussian and independent across steps.",
    "The schedule of minibatches is public and does not depend on the records; deleted ones are dropped from it.",
    "The last iterate alone is released.",
    "The rounding of the laws is charged by an estimate: 16 unit roundoffs for each unit of their dimension, number of "
    "steps and condition number.",
)


@dataclass(frozen=True, kw_only=True)
class RidgeMinibatch:
    """Ridge regression trained and unlearned by noisy steps on fixed public minibatches, with exact certificates.

    Parameters
    ----------
    batch
        Records b of a step, at least 1.
    schedule
        Seed of the public schedule: which b of all n records each step takes, without repetition inside of a step.
    penalty, n_learn, n_unlearn, sigma_learn, delta
        As in :class:`RidgeLangevin`.
    sigma_unlearn
        A number, or :class:`CalibratedNoise` by the route "exact".
    step_size
        eta, in (0, 2/L), L the largest ``(n/b) lambda_max(X_B' X_B) + penalty`` of the schedule; 1/L by default.

    Raises
    ------
    InvalidInputError
        When a value is out of range; a step size and a batch are judged when a deletion is bound.

    Notes
    -----
    The gradient of a step is ``(n/b) X_B' (X_B W - Y_B) + penalty W``. The claim is about the last iterate, for these
    data and this schedule, with the reference ``RETRAIN_THEN_UNLEARN``. A secret schedule would make delta the mean
    over schedules, which is not computed here.

    References
    ----------
    The laws are derived in ``docs/certificates.md``, section 10; the process is that of
    :class:`mechanisms.ridge.langevin.RidgeLangevin`.
    """

    batch: int
    schedule: int = 0
    penalty: float = 1.0
    n_learn: int = 300
    n_unlearn: int = 100
    sigma_learn: float = 0.001
    sigma_unlearn: float | CalibratedNoise = 0.01
    step_size: float | None = None
    delta: float = DEFAULT_DELTA

    def __post_init__(self) -> None:
        check_settings(
            penalty=self.penalty, n_learn=self.n_learn, n_unlearn=self.n_unlearn, sigma_learn=self.sigma_learn
        )
        noise, proper = self.sigma_unlearn, f"in [{SMALLEST_DELTA:g}, 1)"
        sigma = 0.0 if isinstance(noise, CalibratedNoise) else noise
        positive = "at least 0 and finite"
        require(0 <= sigma < np.inf, "sigma_unlearn", expected=positive, got=sigma, fix="or calibrate it")
        exact = not isinstance(noise, CalibratedNoise) or noise.route == "exact"
        fix = "the other routes are for full batches"
        require(exact, "sigma_unlearn.calibrate", expected='"exact" with minibatches', got=noise, fix=fix)
        require(self.batch >= 1, "batch", expected="at least 1", got=self.batch, fix="32 is usual")
        require(self.schedule >= 0, "schedule", expected="a seed, at least 0", got=self.schedule, fix="choose any")
        require(SMALLEST_DELTA <= self.delta < 1, "delta", expected=proper, got=self.delta, fix="1e-5 is usual")

    @property
    def name(self) -> str:
        """Short name for reports."""
        return "ridge_minibatch"

    @property
    def reference(self) -> Reference:
        """The reference world."""
        return Reference.RETRAIN_THEN_UNLEARN

    def bind(self, data: Dataset, forget: tuple[int, ...]) -> MinibatchDeletion:
        """Freeze schedule, step size and noise.

        Raises
        ------
        InvalidInputError
            For a forget set out of range, more records in a batch than there are, or a step size that diverges.
        UnreachableTargetError
            When no noise meets the calibration's target.
        """
        data = matrices(data, self.name)
        forget = validate_forget(forget, data.n_records)
        fix = "take smaller batches"
        require(self.batch <= data.n_records, "batch", expected=f"at most {data.n_records}", got=self.batch, fix=fix)
        rng = np.random.default_rng(self.schedule)
        batches = np.stack(
            [rng.choice(data.n_records, self.batch, replace=False) for _ in range(self.n_learn + self.n_unlearn)]
        )
        steps = _Steps(
            data=data,
            forget=forget,
            batches=batches,
            penalty=self.penalty,
            step_size=self._step_size(data, batches),
            n_learn=self.n_learn,
            sigma_learn=self.sigma_learn,
        )
        noise, laws = self.sigma_unlearn, _Laws.of(steps)
        delta = noise.delta if isinstance(noise, CalibratedNoise) else self.delta
        if isinstance(noise, CalibratedNoise):
            sigma = smallest_unlearning_noise(
                lambda s: laws.pair(s).epsilon(delta), noise.epsilon, self.sigma_learn
            ).noise
            sigma = sigma if noise.grid_ratio is None else round_up_to_grid(sigma, ratio=noise.grid_ratio)
        else:
            sigma = float(noise)
        public: dict[str, int | float | str] = {
            "penalty": self.penalty,
            "step_size": steps.step_size,
            "n_learn": self.n_learn,
            "n_unlearn": self.n_unlearn,
            "sigma_learn": self.sigma_learn,
            "sigma_unlearn": sigma,
            "batch": self.batch,
            "schedule": self.schedule,
            "sampler": "stepwise",
        }
        return MinibatchDeletion(steps=steps, laws=laws, sigma_unlearn=sigma, delta=delta, public=public)

    def _step_size(self, data: Dataset, batches: NDArray[np.intp]) -> float:
        scale = data.n_records / self.batch
        largest = max(float(np.linalg.norm(data.features[rows], 2)) for rows in batches)
        smoothness = scale * largest**2 + self.penalty
        if self.step_size is None:
            return 1 / smoothness
        if not 0 < self.step_size < 2 / smoothness:
            raise InvalidInputError(
                field="step_size",
                expected=f"in (0, {2 / smoothness:.6g}) = (0, 2/L) for these data and this schedule",
                got=self.step_size,
                fix="lower it, or leave it out for 1/L",
            )
        return self.step_size


@dataclass(frozen=True, kw_only=True, eq=False)
class _Steps:
    """The frozen description of one deletion: what the sampler simulates and the laws solve."""

    data: Dataset
    forget: tuple[int, ...]
    batches: NDArray[np.intp]
    penalty: float
    step_size: float
    n_learn: int
    sigma_learn: float

    def rows(self, k: int, *, retained: bool) -> tuple[Array, Array]:
        """Return the features and the targets of step k, with all records or without those that are deleted."""
        batch = self.batches[k]
        kept = batch[~np.isin(batch, self.forget)] if retained else batch
        return self.data.features[kept], self.data.targets[kept]

    @property
    def scale(self) -> float:
        """n/b, of all records in every world."""
        return self.data.n_records / float(self.batches.shape[1])


def _learned_without(world: World) -> bool:
    return world is World.RETRAINED


def _unlearned_without(world: World) -> bool:
    return world is not World.NEGLECTED


@dataclass(frozen=True, kw_only=True, eq=False)
class _Laws:
    """Moments by recursion: the learned models, what unlearning makes of them without noise, and what noise adds."""

    learned: Mapping[World, GaussianLaw]
    moved: Mapping[World, GaussianLaw]
    added: Mapping[World, Array]
    n_steps: int
    n_unlearn: int

    @staticmethod
    def of(steps: _Steps) -> _Laws:
        """Return the laws of a deletion."""
        p, q = steps.data.features.shape[1], steps.data.targets.shape[1]
        learned, moved, added = {}, {}, {}
        for world in World:
            law = GaussianLaw(mean=np.zeros((p, q)), covariance=np.zeros((p, p)))
            for k in range(steps.n_learn):
                law = _after(law, steps, k, retained=_learned_without(world), sigma=steps.sigma_learn)
            learned[world] = law
            noise = GaussianLaw(mean=np.zeros((p, q)), covariance=np.zeros((p, p)))
            for k in range(steps.n_learn, len(steps.batches)):
                law = _after(law, steps, k, retained=_unlearned_without(world), sigma=0.0)
                noise = _after(noise, steps, k, retained=_unlearned_without(world), sigma=1.0)
            moved[world], added[world] = law, noise.covariance
        n_unlearn = len(steps.batches) - steps.n_learn
        return _Laws(learned=learned, moved=moved, added=added, n_steps=len(steps.batches), n_unlearn=n_unlearn)

    def law(self, world: World, sigma: float) -> GaussianLaw:
        """Return the law of a release."""
        moved = self.moved[world]
        return GaussianLaw(mean=moved.mean, covariance=moved.covariance + sigma**2 * self.added[world])

    def pair(self, sigma: float) -> BoundedPair:
        """Return the pair (unlearned, retrained) with an estimate of what rounding did to it.

        Without unlearning noise the steps map both worlds alike: at most what the models before them give.
        """
        if sigma == 0 or self.n_unlearn == 0:
            return self.before()
        return _bounded(self.law(World.UNLEARNED, sigma), self.law(World.RETRAINED, sigma), self.n_steps)

    def before(self) -> BoundedPair:
        """Return the pair of the learned models."""
        return _bounded(self.learned[World.UNLEARNED], self.learned[World.RETRAINED], self.n_steps)


def _after(law: GaussianLaw, steps: _Steps, k: int, *, retained: bool, sigma: float) -> GaussianLaw:
    """Return a law after step k: products with the few rows of the batch, O(p^2 b)."""
    x, y = steps.rows(k, retained=retained)
    shrink, pull = 1 - steps.step_size * steps.penalty, steps.step_size * steps.scale
    mean = shrink * law.mean - pull * (x.T @ (x @ law.mean - y))
    # From the left, then from the right.
    half = shrink * law.covariance - pull * (x.T @ (x @ law.covariance))
    covariance = shrink * half - pull * ((half @ x.T) @ x)
    covariance[np.diag_indices_from(covariance)] += sigma**2
    return GaussianLaw(mean=mean, covariance=(covariance + covariance.T) / 2)


def _bounded(unlearned: GaussianLaw, retrained: GaussianLaw, n_steps: int) -> BoundedPair:
    pair = GaussianPair.from_laws(unlearned, retrained)
    spread = np.sqrt(np.diag(retrained.covariance))
    if pair.disjoint or pair.identical or not np.all(spread > 0):
        return BoundedPair(pair=pair, change_error=0.0, shift_error=0.0)
    values = np.linalg.eigvalsh(retrained.covariance / np.outer(spread, spread))
    smallest = max(float(values[0]), float(np.finfo(np.float64).tiny))
    unit = _ROUNDING * (len(spread) + n_steps)
    largest = max(float(np.abs(law.mean).max()) for law in (unlearned, retrained))
    ratio = max(1.0, float(pair.variance_ratios.max(initial=1.0)))
    return BoundedPair(
        pair=pair,
        change_error=unit * float(values[-1]) / smallest * ratio,
        shift_error=unit * largest / float(spread.min()) / smallest**0.5,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class MinibatchDeletion:
    """One deletion with everything frozen; build it with ``RidgeMinibatch.bind``."""

    steps: _Steps
    laws: _Laws
    sigma_unlearn: float
    delta: float
    public: Mapping[str, int | float | str]

    @property
    def release(self) -> ReleaseSpec:
        """Weights, shape (p, q)."""
        shape = (self.steps.data.features.shape[1], self.steps.data.targets.shape[1])
        return ReleaseSpec(shape=shape, continuous=self.steps.sigma_learn > 0 or self.sigma_unlearn > 0)

    @property
    def reference(self) -> Reference:
        """The reference world."""
        return Reference.RETRAIN_THEN_UNLEARN

    def sample(self, world: World, n: int, *, rng: np.random.Generator) -> Array:
        """Return n independent releases of a world, shape (n, p, q), step by step from gradients."""
        steps, p = self.steps, self.steps.data.features.shape[1]
        weights = np.zeros((n, p, steps.data.targets.shape[1]))
        for k in range(len(steps.batches)):
            learning = k < steps.n_learn
            x, y = steps.rows(k, retained=_learned_without(world) if learning else _unlearned_without(world))
            sigma = steps.sigma_learn if learning else self.sigma_unlearn
            gradient = steps.scale * (x.T @ (x @ weights - y)) + steps.penalty * weights
            weights = weights - steps.step_size * gradient + sigma * rng.standard_normal(weights.shape)
        return weights

    def law(self, world: World) -> GaussianLaw:
        """Return the exact law of a world."""
        return self.laws.law(world, self.sigma_unlearn)

    def parameters(self) -> Mapping[str, int | float | str]:
        """Return the public hyper-parameters; calibrated noise depends on the deleted record and leaks."""
        return self.public

    def certificates(self) -> tuple[Certificate, ...]:
        """Return the exact certificate."""
        pair = self.laws.pair(self.sigma_unlearn)
        headline = pair.epsilons(self.delta)
        epsilon = max(headline)
        still = (NO_STEPS,) if self.laws.n_unlearn == 0 else ()
        claim = Claim(
            guarantee=profile_of(pair, headline, self.delta),
            provenance="exact",
            directions=BOTH_DIRECTIONS,
            assumptions=(*ASSUMPTIONS, *still, *far_too_little(epsilon)),
        )
        raised = pair.error(self.delta, epsilon) / epsilon if 0 < epsilon < np.inf else 0.0
        return (
            Certificate(
                claim=claim,
                method="exact",
                epsilon=epsilon,
                delta=self.delta,
                numerical_error=RELATIVE_ERROR + raised,
                epsilon_without_unlearning=self.laws.before().epsilon(self.delta),
            ),
        )
