"""Logistic and softmax regression by noisy gradient descent, with certificates and noise per record."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mechanisms.accounting.calibration import round_up_to_grid, smallest_noise
from mechanisms.claim import Certificate, Reference
from mechanisms.dataset import Dataset, matrices, validate_forget
from mechanisms.errors import InvalidInputError, require
from mechanisms.logistic.process import LogisticProcess, loss_of, smoothness_of
from mechanisms.logistic.routes import LogisticRoutes
from mechanisms.logistic.stepwise import LogisticSampler, LogisticStages
from mechanisms.ridge.process import check_settings, noise_floor
from mechanisms.serving.stages import validate_requests

Array = NDArray[np.float64]
LogisticRoute = Literal["sure", "probable", "uniform"]
LOGISTIC_ROUTES: tuple[LogisticRoute, ...] = ("sure", "probable", "uniform")
DEFAULT_DELTA = 1e-5
# Shares of delta that the probable route spends must still be numbers.
SMALLEST_DELTA = 1e-250


@dataclass(frozen=True, kw_only=True)
class CalibratedLogisticNoise:
    """Calibrate the unlearning noise for each deletion: the smallest that meets a target on a named route.

    Parameters
    ----------
    route
        "probable" (around the noiseless path, but for a small probability), "sure" (a record's own norm, with no
        probability), or "uniform" (the largest norms over all records: the same noise for everyone).
    epsilon, delta
        Target; epsilon in nats.
    grid_ratio
        Round the noise up to a public geometric grid with this ratio (1.25 is usual): a noise that is calibrated
        per record is a function of the record and leaks when it is published. ``None`` for no rounding.
    """

    route: LogisticRoute
    epsilon: float
    delta: float = DEFAULT_DELTA
    grid_ratio: float | None = None

    def __post_init__(self) -> None:
        routes, proper = f"one of {', '.join(LOGISTIC_ROUTES)}", f"in [{SMALLEST_DELTA:g}, 1)"
        known, ratio = self.route in LOGISTIC_ROUTES, self.grid_ratio
        require(known, "sigma_unlearn.calibrate", expected=routes, got=self.route, fix="name a route")
        require(
            0 < self.epsilon < np.inf,
            "sigma_unlearn.epsilon",
            expected="positive and finite",
            got=self.epsilon,
            fix="1 is usual",
        )
        usual = SMALLEST_DELTA <= self.delta < 1
        require(usual, "sigma_unlearn.delta", expected=proper, got=self.delta, fix="1e-5 is usual")
        require(
            ratio is None or ratio > 1, "sigma_unlearn.grid_ratio", expected="above 1", got=ratio, fix="1.25 is usual"
        )


@dataclass(frozen=True, kw_only=True)
class LogisticLangevin:
    """Logistic or softmax regression, learned and unlearned by noisy full-batch gradient descent.

    Two classes (one-hot columns, or one column of 0 and 1) are one column of weights, for the last class; more are a
    column each.

    Parameters
    ----------
    penalty
        lambda of the objective ``sum of log-losses + (lambda/2) |W|^2``, positive.
    n_learn, n_unlearn
        Steps of learning (T >= 1) and unlearning (K >= 0).
    sigma_learn
        Standard deviation of the noise added at each learning step, at least 0.
    sigma_unlearn
        The same while unlearning: a number, or :class:`CalibratedLogisticNoise`.
    step_size
        eta, in (0, 2/L) with L the bound ``lambda_max(X'X)/4 + lambda`` (softmax: /2) of the retained data; 1/L of all
        data by default. Frozen when the deletion is bound.
    reference
        The reference world of the claims and of ``World.RETRAINED``. With ``RETRAIN_ONLY`` there are no certificates.
    delta
        Delta of the certificates when the noise is given and not calibrated, in [1e-250, 1).

    Raises
    ------
    InvalidInputError
        When a value is out of range; targets and a step size are judged when a deletion is bound.

    Notes
    -----
    Both certificates are conservative: upper bounds on epsilon in both directions, for the last iterate alone, these
    data and this forget set. "sure" needs no probability. "probable" charges one for noise that carries the weights
    far from the noiseless path (``docs/certificates.md``, section 6).

    References
    ----------
    Bok, Su, Altschuler 2024, "Shifted interpolation for differential privacy" (arXiv:2403.00278); Benarroch, Atif,
    Cappe 2026 (arXiv:2602.15602), for sensitivities of a record along its own path.
    """

    penalty: float = 10.0
    n_learn: int = 100
    n_unlearn: int = 100
    sigma_learn: float = 0.003
    sigma_unlearn: float | CalibratedLogisticNoise = 0.05
    step_size: float | None = None
    reference: Reference = Reference.RETRAIN_THEN_UNLEARN
    delta: float = DEFAULT_DELTA

    def __post_init__(self) -> None:
        sigma = self.sigma_unlearn if isinstance(self.sigma_unlearn, int | float) else 0.0
        check_settings(
            penalty=self.penalty, n_learn=self.n_learn, n_unlearn=self.n_unlearn, sigma_learn=self.sigma_learn
        )
        proper = 0 <= sigma < np.inf
        require(proper, "sigma_unlearn", expected="at least 0 and finite", got=sigma, fix="or calibrate it")
        small = f"in [{SMALLEST_DELTA:g}, 1)"
        require(SMALLEST_DELTA <= self.delta < 1, "delta", expected=small, got=self.delta, fix="1e-5 is usual")

    @property
    def name(self) -> str:
        """Short name for reports."""
        return "logistic_langevin"

    def bind(self, data: Dataset, forget: tuple[int, ...]) -> LogisticDeletion:
        """Freeze step size and noise from the data and the forget set.

        Raises
        ------
        InvalidInputError
            For targets that are no classes, a forget set out of range, a step size that diverges, or a calibration
            with ``RETRAIN_ONLY``.
        UnreachableTargetError
            When no noise meets the calibration's target.
        """
        process = self.process(matrices(data, self.name), forget)
        noise, delta = self.sigma_unlearn, self.delta
        first: LogisticRoute = "probable"
        if isinstance(noise, CalibratedLogisticNoise):
            first, delta = noise.route, noise.delta
        routes = LogisticRoutes(process=process, delta=delta)
        sigma = self._calibrated(noise, routes) if isinstance(noise, CalibratedLogisticNoise) else float(noise)
        return LogisticDeletion(
            **vars(LogisticStages.of(replace(process, sigma_unlearn=sigma))),
            stated=_certificates(routes, sigma, first),
        )

    def bind_pool(self, data: Dataset, pool: tuple[int, ...]) -> LogisticStages:
        """Freeze the step size from all records, those of the pool among them, and the noise.

        Raises
        ------
        InvalidInputError
            As :meth:`bind`, for the pool; for a calibration, which is of one set.
        """
        data = matrices(data, self.name)
        if isinstance(self.sigma_unlearn, CalibratedLogisticNoise):
            raise InvalidInputError(
                field="sigma_unlearn",
                expected="a number where several sets may be deleted",
                got="a calibration, which is of one set",
                fix="calibrate on the sets that matter by bind(...).parameters(), and give the noise as a number",
            )
        process = self.process(data, validate_forget(pool, data.n_records, field="pool"))
        return LogisticStages.of(replace(process, sigma_unlearn=float(self.sigma_unlearn)))

    def bind_stream(self, data: Dataset, requests: tuple[tuple[int, ...], ...]) -> LogisticStages:
        """Freeze the step size from the records before the first request, and the noise, for all requests.

        Raises
        ------
        InvalidInputError
            As :meth:`bind_pool`, for the requests; for a record that is asked for twice.
        """
        return self.bind_pool(data, tuple(i for request in validate_requests(requests, len(data)) for i in request))

    def process(self, data: Dataset, forget: tuple[int, ...]) -> LogisticProcess:
        """Return the frozen description of one deletion, its unlearning noise still 0.

        Raises
        ------
        InvalidInputError
            For targets that are no classes, a forget set out of range, or a step size that diverges.
        """
        forget = validate_forget(forget, data.n_records)
        loss, retained = loss_of(data), data.without(forget)
        step_size = self.step_size
        if step_size is None:
            step_size = 1 / smoothness_of(data.features, loss, self.penalty)
        largest = 2 / smoothness_of(retained.features, loss, self.penalty)
        require(
            0 < step_size < largest,
            "step_size",
            expected=f"in (0, {largest:.6g}) = (0, 2/L) for the retained data",
            got=step_size,
            fix="lower it, or leave it out for 1/L",
        )
        return LogisticProcess(
            data=data,
            retained=retained,
            deleted=data.take(forget),
            loss=loss,
            penalty=self.penalty,
            step_size=step_size,
            n_learn=self.n_learn,
            n_unlearn=self.n_unlearn,
            sigma_learn=self.sigma_learn,
            sigma_unlearn=0.0,
            reference=self.reference,
        )

    def _calibrated(self, noise: CalibratedLogisticNoise, routes: LogisticRoutes) -> float:
        if self.reference is Reference.RETRAIN_ONLY:
            raise InvalidInputError(
                field="sigma_unlearn",
                expected='a number for the reference "retrain_only"',
                got=f'a calibration by the route "{noise.route}"',
                fix='the routes are for "retrain_then_unlearn"; calibrate for that or give the noise',
            )
        found = smallest_noise(
            getattr(routes, noise.route).epsilon,
            target=noise.epsilon,
            scale=max(self.sigma_learn, 1e-6),
            floor=noise_floor(self.sigma_learn),
        )
        if noise.grid_ratio is not None and found.noise > 0:
            return round_up_to_grid(found.noise, ratio=noise.grid_ratio)
        return found.noise


@dataclass(frozen=True, kw_only=True, eq=False)
class LogisticDeletion(LogisticSampler):
    """One deletion with everything frozen; build it with ``LogisticLangevin.bind``."""

    stated: tuple[Certificate, ...]

    def certificates(self) -> tuple[Certificate, ...]:
        """Return the certificate of the route that calibrated the noise first; none for ``RETRAIN_ONLY``."""
        return self.stated


def _certificates(routes: LogisticRoutes, sigma: float, first: LogisticRoute) -> tuple[Certificate, ...]:
    """Return the certificates at a noise; the uniform one only if it is ``first``: it may not exist."""
    if routes.process.reference is Reference.RETRAIN_ONLY:
        return ()
    names: list[LogisticRoute] = ["probable", "sure", *(["uniform"] if first == "uniform" else [])]  # type: ignore[list-item]
    return tuple(routes.certificate_of(name, sigma) for name in sorted(names, key=lambda name: name != first))
