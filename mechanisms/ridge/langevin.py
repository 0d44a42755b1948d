"""The reference mechanism: ridge regression by Langevin dynamics, with unlearning noise calibrated per record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mechanisms.accounting.calibration import Calibration, round_up_to_grid, smallest_noise
from mechanisms.claim import Certificate, Reference
from mechanisms.dataset import Dataset, matrices, validate_forget
from mechanisms.errors import InvalidInputError, UnreachableTargetError, require
from mechanisms.protocol import GaussianLaw, ReleaseSpec, World
from mechanisms.ridge.laws import ClosedFormSampler, RidgeLaws
from mechanisms.ridge.process import RidgeProcess, check_settings, noise_floor
from mechanisms.ridge.reduced.reach import unmoved_note
from mechanisms.ridge.routes import RidgeRoutes
from mechanisms.ridge.snapshots import law_of_both
from mechanisms.ridge.stages import RidgeStages
from mechanisms.ridge.stepwise import StepwiseSampler
from mechanisms.ridge.streams.phases import Phase
from mechanisms.ridge.streams.service import RidgeStream, calibrated_phases, setup_of
from mechanisms.serving.stages import validate_requests

Array = NDArray[np.float64]
Route = Literal["exact", "published", "repaired", "uniform"]
ROUTES: tuple[Route, ...] = ("exact", "published", "repaired", "uniform")
SamplerName = Literal["stepwise", "closed_form"]
DEFAULT_DELTA = 1e-5
# Shares of delta that routes spend on failure events must still be numbers.
SMALLEST_DELTA = 1e-250


@dataclass(frozen=True, kw_only=True)
class CalibratedNoise:
    """Calibrate the unlearning noise for each deletion: the smallest that meets a target on a named route.

    Parameters
    ----------
    route
        "exact" (no bound and no failure probability), "published" (with its proof gap), "repaired" (rigorous), or
        "uniform" (the published accounting with the largest gaps over all records: the same noise for everyone).
    epsilon, delta
        Target; epsilon in nats.
    grid_ratio
        Round the noise up to a public geometric grid with this ratio (1.25 is usual): a noise that is calibrated
        per record is a function of the record and leaks when it is published. ``None`` for no rounding.
    """

    route: Route
    epsilon: float
    delta: float = DEFAULT_DELTA
    grid_ratio: float | None = None

    def __post_init__(self) -> None:
        routes, proper = f"one of {', '.join(ROUTES)}", f"in [{SMALLEST_DELTA:g}, 1)"
        epsilon, delta, ratio = self.epsilon, self.delta, self.grid_ratio
        require(self.route in ROUTES, "sigma_unlearn.calibrate", expected=routes, got=self.route, fix="name a route")
        require(
            0 < epsilon < np.inf,
            "sigma_unlearn.epsilon",
            expected="positive and finite",
            got=epsilon,
            fix="0.5 is usual",
        )
        require(SMALLEST_DELTA <= delta < 1, "sigma_unlearn.delta", expected=proper, got=delta, fix="1e-5 is usual")
        require(
            ratio is None or ratio > 1, "sigma_unlearn.grid_ratio", expected="above 1", got=ratio, fix="1.25 is usual"
        )


@dataclass(frozen=True, kw_only=True)
class RidgeLangevin:
    """Ridge regression trained and unlearned by noisy full-batch gradient descent, with exact certificates per record.

    Parameters
    ----------
    penalty
        lambda of the objective ``1/2 |XW - Y|^2 + (lambda/2) |W|^2``, positive.
    n_learn, n_unlearn
        Steps of learning (T >= 1) and unlearning (K >= 0).
    sigma_learn
        Standard deviation of the noise added at each learning step, at least 0. For the convention
        ``sqrt(2 step_size) * sigma`` use :meth:`from_temperature`.
    sigma_unlearn
        The same while unlearning: a number, or :class:`CalibratedNoise`.
    step_size
        eta, in (0, 2/L) with L = lambda_max(X'X + lambda I) of the full data; 1/L by default. Frozen when the deletion
        is bound.
    reference
        The reference world of the claims and of ``World.RETRAINED``.
    sampler
        "stepwise" simulates every step; "closed_form" draws from the exact law, hundreds of times faster, but an
        audit with it cannot refute an error in that law.
    delta
        Delta of the certificates when the noise is given and not calibrated, in [1e-250, 1).

    Raises
    ------
    InvalidInputError
        When a value is out of range; a step size is judged when a deletion is bound.

    Notes
    -----
    Every iterate is Gaussian. The exact certificate is that of its law, in both directions. The published one is
    proved in the direction ``unlearned_from_retrained`` only and can be too small in the other one; the repaired one is
    an upper bound in both (``docs/certificates.md``, section 5). ``RETRAIN_ONLY`` has the exact one alone. All cover
    the last iterate, for these data and this forget set.

    References
    ----------
    Benarroch, Atif, Cappe 2026 (arXiv:2602.15602); Bok, Su, Altschuler 2024, "Shifted interpolation for differential
    privacy" (arXiv:2403.00278), for the published accounting.
    """

    penalty: float = 1.0
    n_learn: int = 300
    n_unlearn: int = 100
    sigma_learn: float = 0.001
    sigma_unlearn: float | CalibratedNoise = 0.01
    step_size: float | None = None
    reference: Reference = Reference.RETRAIN_THEN_UNLEARN
    sampler: SamplerName = "stepwise"
    delta: float = DEFAULT_DELTA

    def __post_init__(self) -> None:
        sigma = self.sigma_unlearn if isinstance(self.sigma_unlearn, int | float) else 0.0
        check_settings(
            penalty=self.penalty, n_learn=self.n_learn, n_unlearn=self.n_unlearn, sigma_learn=self.sigma_learn
        )
        require(
            0 <= sigma < np.inf, "sigma_unlearn", expected="at least 0 and finite", got=sigma, fix="or calibrate it"
        )
        proper = f"in [{SMALLEST_DELTA:g}, 1)"
        require(SMALLEST_DELTA <= self.delta < 1, "delta", expected=proper, got=self.delta, fix="1e-5 is usual")
        known = self.sampler in ("stepwise", "closed_form")
        require(known, "sampler", expected="stepwise or closed_form", got=self.sampler, fix="name one")

    @staticmethod
    def from_temperature(
        *, step_size: float, sigma_learn: float, sigma_unlearn: float, **others: object
    ) -> RidgeLangevin:
        """Return the mechanism for the convention that adds ``sqrt(2 step_size) * sigma * Z`` at each step.

        Raises
        ------
        InvalidInputError
            When a value is out of range.
        """
        scale = float(np.sqrt(2 * step_size))
        return RidgeLangevin(
            step_size=step_size,
            sigma_learn=scale * sigma_learn,
            sigma_unlearn=scale * sigma_unlearn,
            **others,  # type: ignore[arg-type]
        )

    @property
    def name(self) -> str:
        """Short name for reports."""
        return "ridge_langevin"

    def bind(self, data: Dataset, forget: tuple[int, ...]) -> RidgeDeletion:
        """Freeze step size and noise from the data and the forget set.

        Raises
        ------
        InvalidInputError
            For a forget set out of range, a step size that diverges, or a calibration with ``RETRAIN_ONLY``.
        UnreachableTargetError
            When no noise meets the calibration's target.
        """
        process = self.process(matrices(data, self.name), forget)
        return RidgeDeletion.of(process, noise=self.sigma_unlearn, sampler=self.sampler, delta=self.delta)

    def bind_pool(self, data: Dataset, pool: tuple[int, ...]) -> RidgeStages:
        """Freeze the step size from all records, those of the pool among them, and the noise.

        Raises
        ------
        InvalidInputError
            As :meth:`bind`, for the pool; for a calibration, which is of one set, or a sampler that takes no steps.
        """
        data = matrices(data, self.name)
        require(
            self.sampler == "stepwise",
            "sampler",
            expected='"stepwise" where models are learned for several deletions',
            got=self.sampler,
            fix="the closed form draws releases and learns no model",
        )
        if isinstance(self.sigma_unlearn, CalibratedNoise):
            raise InvalidInputError(
                field="sigma_unlearn",
                expected="a number where several sets may be deleted",
                got="a calibration, which is of one set",
                fix="calibrate on the sets that matter by bind(...).parameters(), and give the noise as a number",
            )
        pool = validate_forget(pool, data.n_records, field="pool")
        process = replace(self.process(data, pool), sigma_unlearn=float(self.sigma_unlearn))
        return RidgeStages.of(process, _release_of(process), _public_parameters(process, self.sampler))

    def bind_stream(self, data: Dataset, requests: tuple[tuple[int, ...], ...]) -> RidgeStages:
        """Freeze the step size from the records before the first request, and the noise, for all requests.

        Raises
        ------
        InvalidInputError
            As :meth:`bind_pool`, for the requests; for a record that is asked for twice.
        """
        return self.bind_pool(data, tuple(i for request in validate_requests(requests, len(data)) for i in request))

    def serve(self, data: Dataset, requests: tuple[tuple[int, ...], ...]) -> RidgeStream:
        """Freeze step size and noise for requests that are served one after the other, with laws and certificates.

        Calibrated noise is calibrated request by request, by the exact route.

        Raises
        ------
        InvalidInputError
            For requests that are none, a step size that diverges, a sampler that takes no steps, no unlearning
            steps, or a calibration by another route or with ``RETRAIN_ONLY``.
        UnreachableTargetError
            When no noise meets the calibration's target.
        """
        data = matrices(data, self.name)
        requests = validate_requests(requests, data.n_records)
        process = self.process(data, tuple(i for request in requests for i in request))
        fix = "a request that no step follows changes nothing"
        require(self.n_unlearn >= 1, "n_unlearn", expected="at least 1 on a stream", got=0, fix=fix)
        require(
            self.sampler == "stepwise",
            "sampler",
            expected='"stepwise" on a stream',
            got=self.sampler,
            fix="the closed form draws releases and learns no model",
        )
        noise = self.sigma_unlearn
        if isinstance(noise, CalibratedNoise):
            _check_stream_calibration(noise, self.reference)
            phases = calibrated_phases(
                setup_of(process),
                requests,
                n_steps=self.n_unlearn,
                epsilon=noise.epsilon,
                delta=noise.delta,
                grid_ratio=noise.grid_ratio,
            )
        else:
            phases = tuple(Phase(request=r, n_steps=self.n_unlearn, sigma=float(noise)) for r in requests)
        bound = [replace(process, sigma_unlearn=phase.sigma) for phase in phases]
        return RidgeStream(
            process=bound[-1],
            served=phases,
            phases=tuple(RidgeStages.of(p, _release_of(p), _public_parameters(p, self.sampler)) for p in bound),
            delta=noise.delta if isinstance(noise, CalibratedNoise) else self.delta,
        )

    def process(self, data: Dataset, forget: tuple[int, ...]) -> RidgeProcess:
        """Return the frozen description of one deletion, its unlearning noise still 0.

        Raises
        ------
        InvalidInputError
            For a forget set out of range, or a step size that diverges.
        """
        forget = validate_forget(forget, data.n_records)
        return RidgeProcess(
            data=data,
            retained=data.without(forget),
            deleted=data.take(forget),
            penalty=self.penalty,
            step_size=self._step_size(data),
            n_learn=self.n_learn,
            n_unlearn=self.n_unlearn,
            sigma_learn=self.sigma_learn,
            sigma_unlearn=0.0,
            reference=self.reference,
        )

    def notes_on(self, data: Dataset) -> tuple[str, ...]:
        """Return a sentence if learning leaves most of what the data determine where it started."""
        note = unmoved_note(data, penalty=self.penalty, step_size=self._step_size(data), n_learn=self.n_learn)
        return () if note is None else (note,)

    def _step_size(self, data: Dataset) -> float:
        smoothness = float(np.linalg.norm(data.features, 2)) ** 2 + self.penalty
        if self.step_size is None:
            return 1 / smoothness
        if not 0 < self.step_size < 2 / smoothness:
            raise InvalidInputError(
                field="step_size",
                expected=f"in (0, {2 / smoothness:.6g}) = (0, 2/L) for these data",
                got=self.step_size,
                fix="lower it, or leave it out for 1/L",
            )
        return self.step_size


@dataclass(frozen=True, kw_only=True, eq=False)
class RidgeDeletion:
    """One deletion with everything frozen; build it with ``RidgeLangevin.bind``."""

    laws: RidgeLaws
    stepwise: StepwiseSampler
    closed_form: ClosedFormSampler
    sampler: SamplerName
    release: ReleaseSpec
    reference: Reference
    public: Mapping[str, int | float | str]
    routes: RidgeRoutes
    first: Route

    @staticmethod
    def of(
        process: RidgeProcess, *, noise: float | CalibratedNoise, sampler: SamplerName, delta: float
    ) -> RidgeDeletion:
        """Calibrate the noise and return the deletion."""
        laws = RidgeLaws.of(process)
        route: Route = noise.route if isinstance(noise, CalibratedNoise) else "exact"
        delta = noise.delta if isinstance(noise, CalibratedNoise) else delta
        routes = RidgeRoutes(process=process, laws=laws, delta=delta)
        sigma = _calibrated(noise, routes) if isinstance(noise, CalibratedNoise) else float(noise)
        bound, laws = replace(process, sigma_unlearn=sigma), laws.with_noise(sigma)
        public, release = _public_parameters(bound, sampler), _release_of(bound)
        stages = RidgeStages.of(bound, release, public)
        deletion = RidgeDeletion(
            laws=laws,
            stepwise=stages.sampler,
            closed_form=ClosedFormSampler.of(laws),
            sampler=sampler,
            release=release,
            reference=process.reference,
            public=public,
            routes=routes,
            first=route,
        )
        return StepwiseRidgeDeletion(**vars(deletion), stages=stages) if sampler == "stepwise" else deletion

    def sample(self, world: World, n: int, *, rng: np.random.Generator) -> Array:
        """Return n independent releases of a world, shape (n, p, q)."""
        chosen = self.stepwise if self.sampler == "stepwise" else self.closed_form
        return chosen.sample(world, n, rng=rng)

    def trajectory(self, world: World, n: int, *, rng: np.random.Generator) -> Array | None:
        """Return the first noisy iterates of n runs from one model; ``None`` where the sampler takes no steps."""
        return self.stepwise.trajectory(world, n, rng=rng) if self.sampler == "stepwise" else None

    def law(self, world: World) -> GaussianLaw:
        """Return the exact law of a world."""
        return self.laws.law(world)

    def law_of_both(self, world: World) -> GaussianLaw | None:
        """Return the exact law of the models before and after unlearning, shape (2p, q).

        ``None`` where the second one is a function of the first.
        """
        laws = self.laws
        return law_of_both(laws, world) if laws.sigma_unlearn > 0 and laws.n_unlearn > 0 else None

    def certificates(self) -> tuple[Certificate, ...]:
        """Return the certificate of the route that calibrated the noise first."""
        return self._stated

    @cached_property
    def _stated(self) -> tuple[Certificate, ...]:
        # They take most of the time of a binding, and many a deletion is only sampled.
        return _certificates(self.routes, self.laws, first=self.first)

    def parameters(self) -> Mapping[str, int | float | str]:
        """Return the public hyper-parameters; ``sigma_unlearn`` depends on the deleted record and leaks."""
        return self.public


@dataclass(frozen=True, kw_only=True, eq=False)
class StepwiseRidgeDeletion(RidgeDeletion):
    """One deletion whose sampler takes every step, so that its stages can be run one by one."""

    stages: RidgeStages

    @property
    def at_once(self) -> int:
        """How many models step together."""
        return self.stages.at_once

    def learn(self, records: Dataset, n: int, rng: np.random.Generator) -> Array:
        """Return n models of these records, shape (n, q, p)."""
        return self.stages.learn(records, n, rng)

    def unlearn(self, models: Array, retained: Dataset, request: Dataset, rng: np.random.Generator) -> Array:
        """Return the models after the unlearning steps on the retained records."""
        return self.stages.unlearn(models, retained, request, rng)

    def released(self, models: Array) -> Array:
        """Return the weights, shape (n, p, q)."""
        return self.stages.released(models)


def _certificates(routes: RidgeRoutes, laws: RidgeLaws, *, first: Route) -> tuple[Certificate, ...]:
    """Return the certificates at the noise of ``laws``; the uniform one only if it is ``first``, for its cost."""
    exact = routes.exact.certificate(laws.sigma_unlearn)
    if laws.reference is Reference.RETRAIN_ONLY:
        return (exact,)
    bounds = [routes.published, routes.repaired, *([routes.uniform] if first == "uniform" else [])]
    # None is left out only by the type: the exact certificate always knows it.
    without = exact.epsilon_without_unlearning or 0.0
    stated = [exact, *(bound.certificate(laws.sigma_unlearn, epsilon_without_unlearning=without) for bound in bounds)]
    return tuple(sorted(stated, key=lambda certificate: certificate.method != first))


def smallest_unlearning_noise(epsilon_fn: Callable[[float], float], target: float, sigma_learn: float) -> Calibration:
    """Return the smallest noise that meets a target: 0, or at least ``noise_floor``."""
    return smallest_noise(epsilon_fn, target=target, scale=max(sigma_learn, 1e-6), floor=noise_floor(sigma_learn))


def _calibrated(noise: CalibratedNoise, routes: RidgeRoutes) -> float:
    laws = routes.laws
    if laws.reference is Reference.RETRAIN_ONLY:
        raise InvalidInputError(
            field="sigma_unlearn",
            expected='a number for the reference "retrain_only"',
            got=f'a calibration by the route "{noise.route}"',
            fix='epsilon is not monotone in the noise there; calibrate for "retrain_then_unlearn" or give the noise',
        )
    if routes.process.n_unlearn == 0 and (alone := getattr(routes, noise.route).epsilon(0.0)) > noise.epsilon:
        raise UnreachableTargetError(
            "Expected n_unlearn to be at least 1 where unlearning noise must meet epsilon = "
            f"{noise.epsilon:.6g}, got 0: no unlearning step is taken, and the learning noise alone gives {alone:.6g}; "
            "take steps, or raise the target."
        )
    found = smallest_unlearning_noise(getattr(routes, noise.route).epsilon, noise.epsilon, laws.sigma_learn)
    if noise.grid_ratio is not None and found.noise > 0:
        return round_up_to_grid(found.noise, ratio=noise.grid_ratio)
    return found.noise


def _check_stream_calibration(noise: CalibratedNoise, reference: Reference) -> None:
    require(
        noise.route == "exact",
        "sigma_unlearn.calibrate",
        expected='"exact" on a stream',
        got=noise.route,
        fix="the other routes are for a single deletion",
    )
    require(
        reference is Reference.RETRAIN_THEN_UNLEARN,
        "sigma_unlearn",
        expected='a number for the reference "retrain_only"',
        got="a calibration",
        fix='calibrate for "retrain_then_unlearn", or give the noise',
    )


def _release_of(process: RidgeProcess) -> ReleaseSpec:
    return ReleaseSpec(shape=process.shape, continuous=process.sigma_learn > 0 or process.sigma_unlearn > 0)


def _public_parameters(process: RidgeProcess, sampler: str) -> dict[str, int | float | str]:
    return {
        "penalty": process.penalty,
        "step_size": process.step_size,
        "n_learn": process.n_learn,
        "n_unlearn": process.n_unlearn,
        "sigma_learn": process.sigma_learn,
        "sigma_unlearn": process.sigma_unlearn,
        "sampler": sampler,
    }
