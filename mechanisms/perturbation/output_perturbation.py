"""Output perturbation of a scikit-learn linear model: the simplest mechanism whose certificate is exact per record.

Learning is a deterministic fit; unlearning keeps the coefficients (or moves them by a removal function) and adds
Gaussian noise. Both laws are Gaussians with one covariance, so the claim is Gaussian DP with no slack.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mechanisms.accounting import gdp
from mechanisms.accounting.calibration import far_too_little, round_up_to_grid
from mechanisms.accounting.gaussian_pair import RELATIVE_ERROR, GaussianPair
from mechanisms.adapters.sklearn import coefficients_of, targets_for
from mechanisms.claim import Certificate, Claim, EpsilonDelta, GaussianDP, Guarantee, Reference
from mechanisms.dataset import Dataset, matrices, validate_forget
from mechanisms.errors import InvalidInputError, require
from mechanisms.protocol import GaussianLaw, ReleaseSpec, World
from mechanisms.reading.arrays import real_numbers
from mechanisms.serving.stages import known_or, validate_requests

Array = NDArray[np.float64]
RemovalFn = Callable[[Array, Dataset, Dataset], Array]
DEFAULT_DELTA = 1e-5
# Two fits of the same data may differ by this share of the largest coefficient: threads order sums differently.
_SAME_FIT = 1e-9
# Models that go through the stages together: a chunk of the usual size.
AT_ONCE = 1000
# A stated mu is raised by this share, more than the rounding of a norm and a quotient.
_SAFETY = 1e-12
# A solver's tolerance that is compared with, how many more steps it may take to get there, and the share of a shift
# from which on the difference is said.
_TIGHT, _MORE_STEPS, _SOLVERS_SHARE = 1e-10, 10, 0.01


@dataclass(frozen=True, kw_only=True)
class CalibratedSigma:
    """Calibrate the noise for each deletion: the smallest that meets a target.

    Parameters
    ----------
    target
        ``GaussianDP(mu=...)`` or ``EpsilonDelta(epsilon=..., delta=...)``.
    grid_ratio
        Round the noise up to a public geometric grid with this ratio, above 1: a noise that is calibrated per record
        is a function of the record and leaks when it is published. ``None`` for no rounding.
    """

    target: GaussianDP | EpsilonDelta
    grid_ratio: float | None = None

    @property
    def mu(self) -> float:
        """The largest GDP parameter that meets the target."""
        return self.target.mu if isinstance(self.target, GaussianDP) else gdp.mu(self.target.epsilon, self.target.delta)

    def noise(self, shift: float, learning_noise: float) -> float:
        """Return the smallest noise that hides a shift of the mean, given what learning adds already; rounded up.

        Parameters
        ----------
        shift
            Distance of the two means, Frobenius norm, at least 0.
        learning_noise
            Standard deviation that learning adds to each coefficient, at least 0.

        Raises
        ------
        InvalidInputError
            When the means differ and the target is mu = 0, which no noise meets, or ``grid_ratio`` is not above 1.
        """
        if shift == 0:
            return 0.0
        if not self.mu > 0:
            raise InvalidInputError(
                field="sigma.target",
                expected="a target that some noise meets",
                got=repr(self.target),
                fix="give a positive mu, or a positive delta",
            )
        # Lowered by more than the rounding of the certificate that will be stated.
        needed = shift / (self.mu * (1 - 4 * _SAFETY))
        if needed <= learning_noise:
            return 0.0
        sigma = needed * math.sqrt(1 - (learning_noise / needed) ** 2)
        return sigma if self.grid_ratio is None else round_up_to_grid(sigma, ratio=self.grid_ratio)


@dataclass(frozen=True, kw_only=True)
class OutputPerturbation:
    """A linear model that is unlearned by adding Gaussian noise to its coefficients; its certificate is exact.

    Parameters
    ----------
    estimator
        A scikit-learn linear model with ``coef_`` after ``fit``; it is cloned, never changed. Its fit must be
        deterministic (set ``random_state``). Classifiers are fitted on labels, others on the target columns.
        With ``fit_intercept`` the intercept is released as a last row; without, a release has the shape of linear
        weights on the features, which the attacks for linear models need.
    sigma
        Standard deviation of the noise that unlearning adds to every coefficient: a number, at least 0, or
        :class:`CalibratedSigma`. Computed once when the deletion is bound, and the same in every world.
    removal
        ``removal(weights, retained, deleted) -> weights`` moves the coefficients (in the shape of a release, so with
        an intercept as the last row if there is one) towards those without the deleted records, for example by one
        Newton step; what it leaves is what the noise must hide. It is called with an empty ``deleted`` in the
        reference world and when a deletion is neglected. ``None`` keeps the model.
    sigma_learn
        Standard deviation of noise that learning adds already, at least 0; only without ``removal`` (else the law is
        unknown).
    reference
        The reference world. ``RETRAIN_ONLY`` releases a retrained model with the learning noise alone, so that its
        claim is infinite when there is none.
    delta
        Delta of the certificate's headline when the noise is not calibrated to (epsilon, delta), in (0, 1).
    public
        Further public hyper-parameters for attacks and reports. ``penalty`` is known for ``Ridge`` without intercept.

    Raises
    ------
    InvalidInputError
        When a value is out of range, for ``sigma_learn`` with ``removal``, or a calibration with ``RETRAIN_ONLY``.

    Notes
    -----
    Exact for these data, in both directions: mu-GDP with mu the distance of the means over the noise, and for
    ``RETRAIN_ONLY`` the privacy profile of two Gaussians. The noisy coefficients alone are released.

    References
    ----------
    Dong, Roth, Su 2022, "Gaussian differential privacy" (arXiv:1905.02383), for the guarantee; Sekhari, Acharya,
    Kamath, Suresh 2021, "Remember what you want to forget: algorithms for machine unlearning" (arXiv:2103.03279), for
    unlearning by a Newton step and noise.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> mechanism = OutputPerturbation(
    ...     estimator=Ridge(alpha=1.0, fit_intercept=False), sigma=CalibratedSigma(target=GaussianDP(mu=0.5))
    ... )
    """

    estimator: Any
    sigma: float | CalibratedSigma
    removal: RemovalFn | None = None
    sigma_learn: float = 0.0
    reference: Reference = Reference.RETRAIN_THEN_UNLEARN
    delta: float = DEFAULT_DELTA
    public: Mapping[str, int | float | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        sigma = 0.0 if isinstance(self.sigma, CalibratedSigma) else self.sigma
        for name, value in (("sigma", sigma), ("sigma_learn", self.sigma_learn)):
            require(0 <= value < math.inf, name, expected="at least 0 and finite", got=value, fix="or calibrate it")
        require(0 < self.delta < 1, "delta", expected="in (0, 1)", got=self.delta, fix="1e-5 is usual")
        require(
            self.removal is None or self.sigma_learn == 0,
            "sigma_learn",
            expected="0 with a removal function",
            got=self.sigma_learn,
            fix="a function of noisy coefficients has no known law; drop one of the two",
        )
        require(
            not (isinstance(self.sigma, CalibratedSigma) and self.reference is Reference.RETRAIN_ONLY),
            "sigma",
            expected='a number for the reference "retrain_only"',
            got="a calibration",
            fix='epsilon is not monotone in the noise there; calibrate for "retrain_then_unlearn"',
        )

    @property
    def name(self) -> str:
        """Short name for reports."""
        return "output_perturbation"

    def bind(self, data: Dataset, forget: tuple[int, ...]) -> PerturbedDeletion:
        """Fit with and without the forget set, once, and calibrate the noise.

        Raises
        ------
        InvalidInputError
            For a forget set out of range, an estimator that is not a deterministic linear model or changes its shape,
            a removal function that returns another shape or NaN, or as for :meth:`CalibratedSigma.noise`.
        """
        data = matrices(data, self.name)
        forget = validate_forget(forget, data.n_records)
        retained, deleted, nothing = data.without(forget), data.take(forget), data.take(())
        full, without = self.fit(data), self.fit(retained)
        _check_fits(full, again=self.fit(data), without=without)
        centres = {
            World.UNLEARNED: self.removed(full, retained, deleted),
            World.RETRAINED: self.removed(without, retained, nothing),
            World.NEGLECTED: self.removed(full, data, nothing),
        }
        if self.reference is Reference.RETRAIN_ONLY:
            centres[World.RETRAINED] = without
        shift = float(np.linalg.norm(centres[World.UNLEARNED] - centres[World.RETRAINED]))
        sigma = self.sigma.noise(shift, self.sigma_learn) if isinstance(self.sigma, CalibratedSigma) else self.sigma
        return PerturbedDeletion(
            centres=centres,
            learning_shift=float(np.linalg.norm(full - without)),
            solver=self._solver(data, retained, deleted, shift),
            delta=self._delta,
            **self._frozen({data.sha256(): full, retained.sha256(): without}, sigma, full.shape),
        )

    def bind_pool(self, data: Dataset, pool: tuple[int, ...]) -> PerturbationStages:
        """Freeze the noise, and the shape of a fit to all records; what is learned is fitted when it is learned.

        Raises
        ------
        InvalidInputError
            As :meth:`bind`, for the pool; for a calibration, which is of one set.
        """
        data = matrices(data, self.name)
        validate_forget(pool, data.n_records, field="pool")
        sigma = self.sigma
        if isinstance(sigma, CalibratedSigma):
            raise InvalidInputError(
                field="sigma",
                expected="a number where several sets may be deleted",
                got="a calibration, which is of one set",
                fix="calibrate on the sets that matter by bind(...).sigma_unlearn, and give the noise as a number",
            )
        full = self.fit(data)
        _check_fits(full, again=self.fit(data), without=self.fit(data.without(pool)))
        return PerturbationStages(**self._frozen({data.sha256(): full}, sigma, full.shape))

    def bind_stream(self, data: Dataset, requests: tuple[tuple[int, ...], ...]) -> PerturbationStages:
        """Bind as :meth:`bind_pool` does, to the records of all requests.

        Raises
        ------
        InvalidInputError
            As :meth:`bind_pool`, for the requests; for a record that is asked for twice.
        """
        return self.bind_pool(data, tuple(i for request in validate_requests(requests, len(data)) for i in request))

    def _frozen(self, fits: Mapping[str, Array], sigma: float, shape: tuple[int, ...]) -> dict[str, Any]:
        """Return the fields that deletions, pools and streams share."""
        return {
            "mechanism": self,
            "fits": fits,
            "sigma_unlearn": sigma,
            "release": ReleaseSpec(shape=shape, continuous=sigma > 0 or self.sigma_learn > 0),
            "public": self._parameters(sigma),
        }

    @property
    def _delta(self) -> float:
        calibrated = self.sigma.target if isinstance(self.sigma, CalibratedSigma) else None
        # A target with delta = 1 or 0 has no useful headline of its own.
        return calibrated.delta if isinstance(calibrated, EpsilonDelta) and 0 < calibrated.delta < 1 else self.delta

    def fit(self, data: Dataset) -> Array:
        """Return the coefficients of the estimator on these records, in the shape of a release."""
        from sklearn.base import clone

        model = clone(self.estimator)
        model.fit(data.features, targets_for(model, data))
        return coefficients_of(model)

    def _solver(self, data: Dataset, retained: Dataset, deleted: Dataset, shift: float) -> str:
        """Return how much of a shift is the solver's, in words, where that is more than a small share of it."""
        loose = self.estimator.get_params(deep=False).get("tol")
        if not isinstance(loose, float | int) or isinstance(loose, bool) or not loose > _TIGHT or shift == 0:
            return ""
        tight = replace(self, estimator=_tighter(self.estimator))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                full, without = tight.fit(data), tight.fit(retained)
        except Exception:  # a solver that does not get there, whatever it raises: then nothing is known
            return (
                f"The solver stops at tol = {loose:g}, and does not get to {_TIGHT:g}: how much of the noise hides "
                "where it stops, and not the record, is not known."
            )
        if self.reference is not Reference.RETRAIN_ONLY:
            full, without = tight.removed(full, retained, deleted), tight.removed(without, retained, data.take(()))
        closer = float(np.linalg.norm(full - without))
        if abs(shift - closer) <= _SOLVERS_SHARE * shift:
            return ""
        rest = max(0.0, 1 - closer / shift)
        return (
            f"The solver stops early (tol = {loose:g}): at tol = {_TIGHT:g} the means of the two worlds are "
            f"{closer:.3g} apart, and here {shift:.3g}. "
            + (
                f"{100 * rest:.3g} % of the noise hides where the solver stops, and not the record; lower tol."
                if rest > 0
                else "Where it stops hides a part of the record by chance; lower tol."
            )
        )

    def removed(self, weights: Array, retained: Dataset, deleted: Dataset) -> Array:
        """Return what ``removal`` makes of the coefficients, checked; themselves where there is none."""
        if self.removal is None:
            return weights
        moved = real_numbers(self.removal(weights.copy(), retained, deleted), "removal")
        if moved.shape != weights.shape or not np.isfinite(moved).all():
            raise InvalidInputError(
                field="removal",
                expected=f"to return finite coefficients of shape {weights.shape}",
                got=f"shape {moved.shape}",
                fix="return the coefficients as they are when nothing is deleted",
            )
        return moved

    def _parameters(self, sigma: float) -> dict[str, int | float | str]:
        known: dict[str, int | float | str] = {
            "estimator": type(self.estimator).__name__,
            "sigma_learn": self.sigma_learn,
            "sigma_unlearn": sigma,
            "sampler": "fit_and_noise",
        }
        settings = self.estimator.get_params(deep=False)
        # Ridge's alpha is the penalty of 1/2 |XW - Y|^2 + (penalty/2) |W|^2, if no intercept goes unpenalised.
        if type(self.estimator).__name__ == "Ridge" and not settings["fit_intercept"]:
            known["penalty"] = float(settings["alpha"])
        return known | dict(self.public)


@dataclass(frozen=True, kw_only=True, eq=False)
class PerturbationStages:
    """Fit, remove and add noise, with the noise frozen; models are coefficients, shape (n, p, q).

    Parameters
    ----------
    fits
        Coefficients by the digest of the records that they were fitted to.
    """

    mechanism: OutputPerturbation
    fits: Mapping[str, Array]
    sigma_unlearn: float
    release: ReleaseSpec
    public: Mapping[str, int | float | str]

    @property
    def reference(self) -> Reference:
        """The reference world."""
        return self.mechanism.reference

    @property
    def sigma_learn(self) -> float:
        """Standard deviation of the noise that learning adds."""
        return self.mechanism.sigma_learn

    @property
    def at_once(self) -> int:
        """How many models go through the stages together: a chunk of the usual size."""
        return AT_ONCE

    def parameters(self) -> Mapping[str, int | float | str]:
        """Return the public hyper-parameters; a calibrated ``sigma_unlearn`` depends on the record and leaks."""
        return self.public

    def learn(self, records: Dataset, n: int, rng: np.random.Generator) -> Array:
        """Return n models of these records: one fit, and the learning noise of each."""
        return self.learned(known_or(self.fits, records, self.mechanism.fit), n, rng)

    def unlearn(self, models: Array, retained: Dataset, request: Dataset, rng: np.random.Generator) -> Array:
        """Return the models after removal, with the unlearning noise of each."""
        if self.mechanism.removal is not None:
            # With a removal there is no learning noise: models of one learning are equal, and move alike.
            alike = np.array_equal(models, np.broadcast_to(models[:1], models.shape))
            moved = [self.mechanism.removed(w, retained, request) for w in (models[:1] if alike else models)]
            models = np.broadcast_to(np.stack(moved), models.shape)
        return self.perturbed(models, rng)

    def released(self, models: Array) -> Array:
        """Return the coefficients."""
        return models.copy()

    def learned(self, weights: Array, n: int, rng: np.random.Generator) -> Array:
        """Return n copies of coefficients, each with its learning noise."""
        return _noisy(np.broadcast_to(weights, (n, *weights.shape)), self.sigma_learn, rng)

    def perturbed(self, models: Array, rng: np.random.Generator) -> Array:
        """Return coefficients with unlearning noise."""
        return _noisy(models, self.sigma_unlearn, rng)


def _noisy(models: Array, sigma: float, rng: np.random.Generator) -> Array:
    if sigma == 0:
        return models.copy()
    noise = rng.standard_normal(models.shape)
    noise *= sigma
    noise += models
    return noise


@dataclass(frozen=True, kw_only=True, eq=False)
class PerturbedDeletion(PerturbationStages):
    """One deletion with fits and noise frozen; build it with ``OutputPerturbation.bind``.

    Parameters
    ----------
    centres
        Mean of each world's release, shape (p, q).
    learning_shift
        Distance of the two fits: what the learning noise alone would have to hide.
    solver
        What a solver that stops early does to the shift that the noise hides, in words; empty where that is little.
    """

    centres: Mapping[World, Array]
    learning_shift: float
    delta: float
    solver: str = ""

    def noise(self, world: World) -> float:
        """Return the standard deviation of each coefficient in a world."""
        if world is World.RETRAINED and self.reference is Reference.RETRAIN_ONLY:
            return self.sigma_learn
        return math.hypot(self.sigma_learn, self.sigma_unlearn)

    @property
    def shift(self) -> float:
        """Distance of the means of the unlearned and the retrained world."""
        return float(np.linalg.norm(self.centres[World.UNLEARNED] - self.centres[World.RETRAINED]))

    @property
    def mu(self) -> float:
        """The GDP parameter, shift over noise, for one noise in both worlds; infinite for a shift without noise."""
        return _ratio(self.shift, self.noise(World.UNLEARNED))

    def sample(self, world: World, n: int, *, rng: np.random.Generator) -> Array:
        """Return n independent releases of a world, shape (n, p, q); nothing is fitted again."""
        stops = world is World.RETRAINED and self.reference is Reference.RETRAIN_ONLY
        releases = np.empty((n, *self.release.shape))
        for start in range(0, n, AT_ONCE):
            # Removal allows no learning noise, so that its result is the mean of every model.
            models = self.learned(self.centres[world], min(AT_ONCE, n - start), rng)
            releases[start : start + AT_ONCE] = models if stops else self.perturbed(models, rng)
        return releases

    def law(self, world: World) -> GaussianLaw:
        """Return the exact law of a world."""
        p = self.release.shape[0]
        return GaussianLaw(mean=self.centres[world], covariance=self.noise(world) ** 2 * np.eye(p))

    def certificates(self) -> tuple[Certificate, ...]:
        """Return the exact certificate."""
        if self.reference is Reference.RETRAIN_ONLY:
            guarantee, epsilon = self._unequal_noise()
        else:
            mu = self.mu * (1 + _SAFETY)
            guarantee, epsilon = GaussianDP(mu=mu), gdp.epsilon(mu, self.delta)
        claim = Claim(
            guarantee=guarantee,
            reference=self.reference,
            provenance="exact",
            assumptions=(
                "The fit is deterministic, and the same in every world.",
                "The noise is Gaussian and independent for each coefficient.",
                "The noisy coefficients alone are released.",
                *far_too_little(epsilon),
                *([self.solver] if self.solver else []),
            ),
        )
        without = _ratio(self.learning_shift, self.sigma_learn)
        return (
            Certificate(
                claim=claim,
                method="exact",
                epsilon=epsilon,
                delta=self.delta,
                numerical_error=RELATIVE_ERROR,
                # A removal that moves models which agree is no common map: nothing is known then.
                epsilon_without_unlearning=(
                    None
                    if self.mechanism.removal is not None and self.learning_shift == 0 and self.shift > 0
                    else gdp.epsilon(without, self.delta)
                ),
            ),
        )

    def _unequal_noise(self) -> tuple[Guarantee, float]:
        """Return the guarantee against a reference world with less noise, and its epsilon at ``delta``."""
        pair = GaussianPair.from_laws(self.law(World.UNLEARNED), self.law(World.RETRAINED))
        headline = [pair.epsilon(self.delta), pair.reversed().epsilon(self.delta)]
        rows = [epsilon for epsilon in headline if math.isfinite(epsilon)]
        return pair.profile(np.union1d(pair.profile().epsilons, rows)), max(headline)


def _tighter(estimator: Any) -> Any:
    """Return a copy that stops later."""
    from sklearn.base import clone

    copy, steps = clone(estimator), estimator.get_params(deep=False).get("max_iter")
    more = {"max_iter": _MORE_STEPS * steps} if isinstance(steps, int) and steps > 0 else {}
    return copy.set_params(tol=_TIGHT, **more)


def _ratio(shift: float, noise: float) -> float:
    if shift == 0:
        return 0.0
    return shift / noise if noise > 0 else math.inf


def _check_fits(full: Array, *, again: Array, without: Array) -> None:
    if full.shape != without.shape:
        raise InvalidInputError(
            field="forget",
            expected="records without which the model keeps its shape",
            got=f"coefficients of shape {full.shape} with and {without.shape} without them",
            fix="do not delete the last record of a class",
        )
    if not np.allclose(full, again, rtol=0, atol=_SAME_FIT * max(float(np.abs(full).max(initial=0)), 1e-300)):
        raise InvalidInputError(
            field="estimator",
            expected="to fit the same data to the same coefficients",
            got=f"two fits that differ by {np.abs(full - again).max():.3g}",
            fix="set random_state, or a deterministic solver",
        )
